"""The settings of a finder: its network, and how it is trained."""

import dataclasses
from dataclasses import dataclass
from typing import Annotated

from svhn_jax.checked import Checked, Fraction, Positive, at_least, within
from svhn_jax.config import Count, ModelConfig, OptimizerConfig

STRIDE = 8  # pixels of a canvas between neighbouring cells of the network's map
WINDOW, SCENE = (
    96,
    160,
)  # sides of what a step trains on, and of the stored scene it is cut from, pixels


@dataclass(frozen=True)
class FinderConfig(Checked):
    """The network, and the run that trains it."""

    seed: Annotated[int, within(0, 2**31 - 1)] = 0
    """seed of scenes, initial params, data order and augmentation"""
    scenes: Count = 20_000
    """number of training scenes, composed once"""
    steps: Count = 6000
    """number of updates"""
    batch_size: Count = 64
    """scenes per step, over all devices"""
    width: Count = 64
    """channels of the trunk; the stem has half as many"""
    blocks: Annotated[int, at_least(0)] = 3
    """residual blocks of the trunk"""
    learning_rate: Positive = 2e-3
    """peak of the schedule: linear warm-up, then cosine to zero"""
    weight_decay: Fraction = 0.02
    """of kernels"""
    ema_decay: Fraction = 0.998
    """decay of the running average of params and batch statistics, which is what is saved"""

    @property
    def optimizer(self) -> OptimizerConfig:
        return OptimizerConfig(
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            ema_decay=self.ema_decay,
            clip_norm=10.0,  # the first steps of a box loss have large gradients
        )

    @property
    def model(self) -> ModelConfig:
        """How convolutions are computed."""
        return ModelConfig()

    def as_json(self) -> dict[str, float]:
        return dataclasses.asdict(self)
