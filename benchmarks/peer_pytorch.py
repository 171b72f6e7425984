"""PyTorch's side of against_pytorch.py: the same network, loss and optimizer."""

import itertools
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytorch_networks as networks
import torch
from peer_worker import CHECK_STEPS
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from svhn_jax import config_files
from svhn_jax.config import Config
from svhn_jax.labels import BLANK

SIDE = 64  # of the stored crops, pixels


class Crops(Dataset):
    """Batches of random crops uint8[B, s, s, 3] of a memory map, and labels int64[B, 1 + D]."""

    def __init__(self, folder: str, config: Config, count: int):
        self.images = np.load(f"{folder}/images.npy", mmap_mode="r").reshape(-1, SIDE, SIDE, 3)
        self.labels = np.load(f"{folder}/labels.npy").astype(np.int64)
        self.size, self.crop, self.count = config.batch_size, config.image.crop, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(index)
        rows = rng.integers(0, len(self.images), self.size)
        places = rng.integers(0, SIDE - self.crop + 1, (self.size, 2))
        windows = np.empty((self.size, self.crop, self.crop, 3), np.uint8)
        for window, row, (top, left) in zip(windows, rows, places, strict=True):
            window[:] = self.images[row, top : top + self.crop, left : left + self.crop]
        return windows, self.labels[rows]


def prepare(windows: torch.Tensor, normalize: str) -> torch.Tensor:
    """uint8[B, s, s, 3] to float32[B, 3, s, s], as svhn_jax.model.inputs.prepare does."""
    x = windows.permute(0, 3, 1, 2).float() / 255
    x = x - x.mean(dim=(1, 2, 3), keepdim=True)
    if normalize == "mean and contrast":
        x = x / (x.std(dim=(1, 2, 3), keepdim=True, correction=0) + 0.02)
    return x.contiguous(memory_format=torch.channels_last)


class LossOfInputs(nn.Module):
    """The network with its loss, one graph for torch.compile.

    In bfloat16, autocast computes the heads in bfloat16 too; svhn_jax has them in float32.
    """

    def __init__(self, net: nn.Module, config: Config, device: str):
        super().__init__()
        self.net, self.config, self.device = net, config, device

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        loss = self.config.loss
        is_half = self.config.model.compute_dtype == "bfloat16"
        with torch.autocast(self.device, torch.bfloat16, enabled=is_half):
            length, digits = self.net(images)
        smoothing = loss.label_smoothing
        of_length = functional.cross_entropy(
            length.float(), labels[:, 0], label_smoothing=smoothing
        )
        targets, logits = labels[:, 1:].flatten(), digits.float().flatten(0, 1)
        of_digits = functional.cross_entropy(
            logits, targets, reduction="none", label_smoothing=smoothing
        )
        if loss.blank_weight != 1:
            of_digits = torch.where(targets == BLANK, loss.blank_weight * of_digits, of_digits)
        return of_length + of_digits.sum() / len(labels)


class LossOfRows(nn.Module):
    """The loss of rows int64[B] of a set on the device: random crops, in the same graph."""

    def __init__(self, loss: LossOfInputs, crops: Crops):
        super().__init__()
        self.loss = loss
        # Buffers, so that CUDA graphs do not copy the set in each step; PyTorch needs a copy.
        self.register_buffer("images", torch.from_numpy(np.array(crops.images)).to(loss.device))
        self.register_buffer("labels", torch.from_numpy(crops.labels).to(loss.device))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        image = self.loss.config.image
        limit, shape = SIDE - image.crop + 1, (len(rows), 1, 1)
        top, left = (torch.randint(0, limit, shape, device=rows.device) for _ in range(2))
        pixel = torch.arange(image.crop, device=rows.device)
        windows = self.images[rows[:, None, None], top + pixel[:, None], left + pixel]
        return self.loss(prepare(windows, image.normalize), self.labels[rows])


class Side:
    """A network in training."""

    def __init__(self, options: dict[str, Any]):
        torch.manual_seed(0)
        _set_precision(is_exact=options["is_exact"])
        self.config = config_files.from_json(options["config"], "the comparison's configuration")
        self.folder, self.device = options["folder"], options["device"]
        self.workers, self.mode = options["workers"], options["mode"]
        net = networks.build(self.config.model, self.config.image.crop, 3)
        self.net = net.to(self.device, memory_format=torch.channels_last)
        self.crops = Crops(self.folder, self.config, 0)
        self.optimizer = _optimizer(self.net, self.config)
        floats = [one for one in self.net.buffers() if one.is_floating_point()]
        self.values = [*self.net.parameters(), *floats]
        has_average = self.config.optimizer.ema_decay > 0
        self.average = [value.detach().clone() for value in self.values] if has_average else []
        self.updates = 0
        self.loss = LossOfInputs(self.net, self.config, self.device)
        self.of_inputs = self.compiled(self.loss)
        self.prepare = prepare if self.mode == "eager" else torch.compile(prepare, dynamic=False)
        self.of_rows: Any = None  # made by `resident`: it holds the set
        self.batch = self._first_batch()

    def compiled(self, loss: nn.Module) -> Any:
        return loss if self.mode == "eager" else torch.compile(loss, mode=self.mode, dynamic=False)

    def about(self) -> dict[str, Any]:
        """Versions and size."""
        return {
            "torch": torch.__version__,
            "cudnn": torch.backends.cudnn.version(),
            "threads": torch.get_num_threads(),
            "params": sum(p.numel() for p in self.net.parameters()),
            "platform": "gpu" if self.device == "cuda" else "cpu",
            "devices": 1,
        }

    def step(self, loss_of: Any, *inputs: torch.Tensor) -> torch.Tensor:
        """One update; returns the loss before it, still on the device."""
        torch.compiler.cudagraph_mark_step_begin()
        loss = loss_of(*inputs)
        loss.backward()
        if self.config.optimizer.clip_norm:
            nn.utils.clip_grad_norm_(self.net.parameters(), self.config.optimizer.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average:
            self.updates += 1
            decay = min(self.config.optimizer.ema_decay, (1 + self.updates) / (10 + self.updates))
            with torch.no_grad():
                torch._foreach_lerp_(self.average, self.values, 1 - decay)
        return loss.detach()

    def run(self, count: int) -> float:
        """Seconds of `count` steps on one batch, a float tensor that is on the device."""
        return self._seconds(self.of_inputs, itertools.repeat(self.batch, count))

    def fed(self, count: int) -> float:
        """Seconds of `count` steps on batches of a DataLoader; its start and end do not count."""
        ahead = 4 * self.workers  # batches that are ready when the clock starts, and when it stops
        loader = DataLoader(
            Crops(self.folder, self.config, 1 + count + ahead),
            batch_size=None,
            num_workers=self.workers,
            prefetch_factor=4,
            pin_memory=self.device == "cuda",
        )
        normalize = self.config.image.normalize
        placed = ([part.to(self.device, non_blocking=True) for part in batch] for batch in loader)
        batches = ((self.prepare(windows, normalize), labels) for windows, labels in placed)
        self.step(self.of_inputs, *next(batches))
        return self._seconds(self.of_inputs, itertools.islice(batches, count))

    def resident(self, count: int) -> float:
        """Seconds of `count` steps on random rows of the set on the device."""
        if self.of_rows is None:
            self.of_rows = self.compiled(LossOfRows(self.loss, self.crops))
        shape = (count, self.config.batch_size)
        rows = torch.randint(0, len(self.crops.images), shape, device=self.device)
        return self._seconds(self.of_rows, ((one,) for one in rows))

    def losses(self) -> list[float]:
        """Losses of the first updates from the params that svhn_jax wrote."""
        with np.load(f"{self.folder}/params.npz") as saved:
            networks.load_params(self.net, saved)
        return [self.step(self.of_inputs, *self.batch).item() for _ in range(CHECK_STEPS)]

    def _seconds(self, loss_of: Any, batches: Iterable[Iterable[torch.Tensor]]) -> float:
        wait = torch.cuda.synchronize if self.device == "cuda" else lambda: None
        wait()
        start = time.perf_counter()
        for batch in batches:
            self.step(loss_of, *batch)
        wait()
        return time.perf_counter() - start

    def _first_batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Center crops of the first images as the network's input, and their labels."""
        size, image = self.config.batch_size, self.config.image
        start = (SIDE - image.crop) // 2
        middle = slice(start, start + image.crop)
        windows = torch.from_numpy(self.crops.images[:size, middle, middle].copy())
        labels = torch.from_numpy(self.crops.labels[:size])
        return prepare(windows.to(self.device), image.normalize), labels.to(self.device)


def _set_precision(*, is_exact: bool) -> None:
    """Float32, or TF32 where the device has it, XLA's default; cuDNN tries all algorithms."""
    torch.set_float32_matmul_precision("highest" if is_exact else "high")
    torch.backends.cudnn.allow_tf32 = not is_exact
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.benchmark_limit = 0  # no limit; the default tries ten


def _optimizer(net: nn.Module, config: Config) -> torch.optim.Optimizer:
    """SGD or AdamW, fused, the learning rate constant; decay of kernels alone."""
    settings = config.optimizer
    kernels = networks.decayed(net)
    known = {id(kernel) for kernel in kernels}
    groups = [
        {"params": kernels, "weight_decay": settings.weight_decay},
        {"params": [p for p in net.parameters() if id(p) not in known], "weight_decay": 0.0},
    ]
    if settings.algorithm == "sgd":
        return torch.optim.SGD(groups, settings.learning_rate, momentum=settings.beta1, fused=True)
    betas = settings.beta1, settings.beta2
    return torch.optim.AdamW(groups, settings.learning_rate, betas=betas, fused=True)
