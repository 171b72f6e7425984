"""Networks of svhn_jax.model.networks in PyTorch, channels_last; modules have Flax's names."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from svhn_jax.config import ModelConfig
from svhn_jax.errors import InputError
from svhn_jax.labels import DIGIT_CLASSES, length_classes


def build(config: ModelConfig, side: int, channels: int) -> nn.Module:
    """float[B, channels, side, side] to logits: length [B, D + 2] and digits [B, D, 11].

    D is max_digits.
    """
    networks = {"resnet": AttentionResNet, "potterhsu": PotterhsuNet}
    if config.architecture not in networks:
        raise InputError(f"model.architecture is {config.architecture}: no PyTorch network")
    return networks[config.architecture](config, side, channels)


def load_params(net: nn.Module, saved: Mapping[str, np.ndarray]) -> None:
    """Copies Flax's params, named like `stage1_block1/conv1/kernel`.

    Raises:
      ValueError: names or shapes differ.
    """
    own = dict(net.named_parameters())
    loaded = set()
    for path, value in saved.items():
        module, _, leaf = path.replace("/", ".").rpartition(".")
        name = f"{module}.{ {'kernel': 'weight', 'scale': 'weight'}.get(leaf, leaf) }"
        if leaf == "kernel":
            value = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T
        if name not in own or own[name].shape != value.shape:
            raise ValueError(
                f"{path} of shape {value.shape} has no counterpart in the PyTorch network"
            )
        with torch.no_grad():
            own[name].copy_(torch.from_numpy(np.ascontiguousarray(value)))
        loaded.add(name)
    if missing := own.keys() - loaded:
        raise ValueError(f"no params for {', '.join(sorted(missing))}")


def decayed(net: nn.Module) -> list[nn.Parameter]:
    """The kernels, which weight decay is for."""
    return [module.weight for module in net.modules() if isinstance(module, nn.Conv2d | nn.Linear)]


def _norm(channels: int, momentum: float = 0.05) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-5, momentum=momentum)  # Flax's momentum is 1 less this


def _conv(before: int, channels: int) -> nn.Conv2d:
    return nn.Conv2d(before, channels, 3, padding=1, bias=False)


def _positions(x: torch.Tensor) -> torch.Tensor:
    """[B, C, H, W] to [B, H, W, C]: of a channels_last tensor a view."""
    return x.permute(0, 2, 3, 1)


class Heads(nn.Module):
    """The linear heads of the length and of each digit, as a base class: Flax's names."""

    def add_heads(self, features: int, max_digits: int) -> None:
        self.length = nn.Linear(features, length_classes(max_digits))
        for n in range(1, 1 + max_digits):
            self.add_module(f"digit{n}", nn.Linear(features, DIGIT_CLASSES))

    def read(self, features: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """features: [B, F] of the length, then of each digit."""
        digits = [self.get_submodule(f"digit{n}")(x) for n, x in enumerate(features[1:], start=1)]
        return self.length(features[0]), torch.stack(digits, dim=1)


class AttentionResNet(Heads):
    """The network of configs/demo.py, real.py, mixed.py and full.py."""

    def __init__(self, config: ModelConfig, side: int, channels: int):
        super().__init__()
        self.patch, self.size = config.patch, -(-side // config.patch)
        missing = self.size * self.patch - side
        self.padding = (missing // 2, missing - missing // 2) * 2
        self.stem = _conv(channels * self.patch**2, config.width)
        self.stem_norm = _norm(config.width)
        self.stages: list[list[str]] = []
        size, width = self.size, config.width
        for stage, blocks in enumerate(config.blocks):
            if stage:
                size = -(-size // 2)
            self.stages.append([])
            for block in range(blocks):
                name = f"stage{stage + 1}_block{block + 1}"
                self.add_module(name, ResidualBlock(width, config.width * 2**stage))
                self.stages[-1].append(name)
                width = config.width * 2**stage
        self.dropout = nn.Dropout(config.dropout)
        self.pool = AttentionPool(1 + config.max_digits, size**2, width)
        self.add_heads(width, config.max_digits)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        squares = _positions(functional.pad(images, self.padding))
        squares = squares.reshape(len(images), self.size, self.patch, self.size, self.patch, -1)
        squares = squares.permute(0, 1, 3, 2, 4, 5).flatten(3)
        x = functional.relu(self.stem_norm(self.stem(squares.permute(0, 3, 1, 2))))
        for stage, names in enumerate(self.stages):
            if stage:
                x = functional.max_pool2d(x, 2, ceil_mode=True)
            for name in names:
                x = self.get_submodule(name)(x)
        pooled = self.pool(self.dropout(x))
        return self.read(list(pooled.unbind(1)))


class ResidualBlock(nn.Module):
    """Two convolutions around a shortcut."""

    def __init__(self, before: int, channels: int):
        super().__init__()
        self.conv1, self.norm1 = _conv(before, channels), _norm(channels)
        self.conv2, self.norm2 = _conv(channels, channels), _norm(channels)
        self.is_projected = before != channels
        if self.is_projected:
            self.shortcut = nn.Conv2d(before, channels, 1, bias=False)
            self.shortcut_norm = _norm(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        x = self.shortcut_norm(self.shortcut(x)) if self.is_projected else x
        return functional.relu(y + x)


class AttentionPool(nn.Module):
    """For each head a weighted mean over positions."""

    def __init__(self, heads: int, positions: int, channels: int):
        super().__init__()
        self.position = nn.Parameter(torch.zeros(positions, heads))
        self.query = nn.Linear(channels, heads, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        positions = _positions(x).flatten(1, 2)
        scores = self.query(positions) / positions.shape[-1] ** 0.5 + self.position
        return scores.softmax(dim=1).transpose(1, 2) @ positions


class PotterhsuNet(Heads):
    """potterhsu/SVHNClassifier-PyTorch, model.py, where max_digits is 5."""

    def __init__(self, config: ModelConfig, side: int, channels: int):
        super().__init__()
        for index, width in enumerate((48, 64, 128, 160, 192, 192, 192, 192), start=1):
            stride = 1 + index % 2
            self.add_module(f"conv{index}", nn.Conv2d(channels, width, 5, padding=2))
            self.add_module(f"norm{index}", _norm(width, momentum=0.1))
            self.add_module(f"pool{index}", nn.MaxPool2d(2, stride, padding=1))
            side, channels = side // stride + 1, width
        self.dropout = nn.Dropout(config.dropout)
        self.dense1, self.dense2 = nn.Linear(side**2 * channels, 3072), nn.Linear(3072, 3072)
        self.heads = 1 + config.max_digits
        self.add_heads(3072, config.max_digits)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = images
        for index in range(1, 9):
            conv, norm, pool = (self.get_submodule(f"{n}{index}") for n in ("conv", "norm", "pool"))
            x = self.dropout(pool(functional.relu(norm(conv(x)))))
        x = functional.relu(self.dense1(_positions(x).flatten(1)))
        return self.read([functional.relu(self.dense2(x))] * self.heads)
