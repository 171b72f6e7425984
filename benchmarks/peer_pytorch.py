"""PyTorch's side of benchmarks/against_pytorch.py: potterhsu's network, trained as its repository does."""

import itertools
import time

import numpy as np
import torch
from peer_worker import CHECK_STEPS, serve
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

CHANNELS = (3, 48, 64, 128, 160, 192, 192, 192, 192)
WINDOW = 54


class Net(nn.Module):
    """potterhsu/SVHNClassifier-PyTorch, model.py; heads of 7 and 5 x 11 classes."""

    def __init__(self, dropout: float):
        super().__init__()
        layers: list[nn.Module] = []
        for index in range(8):
            layers += [
                nn.Conv2d(CHANNELS[index], CHANNELS[index + 1], 5, padding=2),
                nn.BatchNorm2d(CHANNELS[index + 1]),
                nn.ReLU(),
                nn.MaxPool2d(2, stride=2 - index % 2, padding=1),
                nn.Dropout(dropout),
            ]
        self.features = nn.Sequential(*layers)
        self.dense = nn.Sequential(nn.Linear(9408, 3072), nn.ReLU(), nn.Linear(3072, 3072), nn.ReLU())
        self.heads = nn.ModuleList([nn.Linear(3072, 7), *(nn.Linear(3072, 11) for _ in range(5))])

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        features = self.dense(self.features(images).flatten(1))
        return [head(features) for head in self.heads]


class Crops(Dataset):
    """Prepared crops in a memory-mapped array, a random window of each, as a float tensor."""

    def __init__(self, folder: str, count: int):
        self.images = np.load(f"{folder}/images.npy", mmap_mode="r").reshape(-1, 64, 64, 3)
        self.labels = torch.from_numpy(np.load(f"{folder}/labels.npy")).long()
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        row = index % len(self.images)
        top, left = torch.randint(0, 64 - WINDOW + 1, (2,)).tolist()
        window = torch.from_numpy(self.images[row, top : top + WINDOW, left : left + WINDOW].copy())
        return normalize(window.permute(2, 0, 1)), self.labels[row]


def normalize(image: torch.Tensor) -> torch.Tensor:
    """uint8[..., 3, s, s] to float: less its mean, over its contrast, as svhn_jax.model.augment does."""
    image = image.float() / 255
    return (image - image.mean(dim=(-3, -2, -1), keepdim=True)) / (
        image.std(dim=(-3, -2, -1), keepdim=True, correction=0) + 0.02
    )


class Side:
    """A network in training."""

    def __init__(self, options: dict):
        torch.manual_seed(0)
        self.options, self.device = options, options["device"]
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = True  # XLA, too, tries its convolutions out
        self.net = Net(options["dropout"]).to(self.device, memory_format=torch.channels_last)
        self.forward = torch.compile(self.net) if options["is_compiled"] else self.net
        is_kernel = lambda p: p.ndim > 1  # noqa: E731
        groups = [
            {"params": [p for p in self.net.parameters() if is_kernel(p)], "weight_decay": options["weight_decay"]},
            {"params": [p for p in self.net.parameters() if not is_kernel(p)], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.SGD(groups, lr=options["learning_rate"], momentum=0.9)
        crops = Crops(options["folder"], 10**9)
        rows = range(options["batch_size"])
        middle = (64 - WINDOW) // 2
        images = torch.from_numpy(crops.images[: len(rows), middle : middle + WINDOW, middle : middle + WINDOW].copy())
        self.batch = self.place(normalize(images.permute(0, 3, 1, 2))), crops.labels[: len(rows)].to(self.device)

    def metadata(self) -> dict:
        """What is compared."""
        return {
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "params": sum(p.numel() for p in self.net.parameters()),
            "platform": "gpu" if self.device == "cuda" else "cpu",
            "devices": 1,
        }

    def place(self, images: torch.Tensor) -> torch.Tensor:
        return images.to(self.device, memory_format=torch.channels_last, non_blocking=True)

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device, torch.bfloat16, enabled=self.options["is_bf16"]):
            logits = self.forward(images)
        loss = sum(functional.cross_entropy(head.float(), labels[:, n]) for n, head in enumerate(logits))
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def run(self, count: int) -> float:
        """Seconds of `count` steps on one batch that is there."""
        start = time.perf_counter()
        for _ in range(count):
            loss = self.step(*self.batch)
        loss.item()
        return time.perf_counter() - start

    def fed(self, count: int) -> float:
        """Seconds of `count` steps, each on its own batch from a DataLoader; its start and its end are not counted."""
        size, workers = self.options["batch_size"], self.options["workers"]
        ahead = 2 * workers  # batches that the loader may have ready when the clock starts, and has when it stops
        crops = Crops(self.options["folder"], (1 + count + ahead) * size)
        loader = DataLoader(crops, size, num_workers=workers, pin_memory=self.device == "cuda")
        batches = iter(loader)
        images, labels = next(batches)
        self.step(self.place(images), labels.to(self.device)).item()
        start = time.perf_counter()
        for images, labels in itertools.islice(batches, count):
            loss = self.step(self.place(images), labels.to(self.device, non_blocking=True))
        loss.item()
        return time.perf_counter() - start

    def losses(self) -> list[float]:
        """Of the first steps from the params that svhn_jax wrote, without dropout."""
        saved = np.load(f"{self.options['folder']}/params.npz")
        with torch.no_grad():
            for index in range(1, 9):
                conv, norm = self.net.features[5 * (index - 1)], self.net.features[5 * (index - 1) + 1]
                conv.weight.copy_(torch.from_numpy(saved[f"conv{index}/kernel"].transpose(3, 2, 0, 1).copy()))
                conv.bias.copy_(torch.from_numpy(saved[f"conv{index}/bias"]))
                norm.weight.copy_(torch.from_numpy(saved[f"norm{index}/scale"]))
                norm.bias.copy_(torch.from_numpy(saved[f"norm{index}/bias"]))
            # Flax flattens rows, columns, channels; PyTorch channels, rows, columns.
            first = saved["dense1/kernel"].reshape(7, 7, 192, -1).transpose(2, 0, 1, 3).reshape(9408, -1)
            names = ("dense1", "dense2", "length", *(f"digit{n}" for n in range(1, 6)))
            for layer, name in zip((self.net.dense[0], self.net.dense[2], *self.net.heads), names, strict=True):
                kernel = first if name == "dense1" else saved[f"{name}/kernel"]
                layer.weight.copy_(torch.from_numpy(kernel.T.copy()))
                layer.bias.copy_(torch.from_numpy(saved[f"{name}/bias"]))
        return [self.step(*self.batch).item() for _ in range(CHECK_STEPS)]


if __name__ == "__main__":
    serve(Side)
