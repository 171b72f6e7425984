"""python benchmarks/augmentation.py --data DIR: what each random change does to the network's input, and what it costs.

The change is the RMS of the difference that it makes to the input, as a share of the input's own RMS, over the first
train images of a prepared data set, all in their middle window. The cost is the time of the compiled augmentation
with the change less that without it, as a share of the time of the forward and backward pass of configs/demo.py on the
same batch: the median of rounds in which all are timed in turn. The last line is the figures as JSON.
"""

import dataclasses
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import tyro
from rich.console import Console
from rich.table import Table

from svhn_jax import config_files
from svhn_jax.config import AugmentConfig, Config
from svhn_jax.errors import InputError, run_command
from svhn_jax.model import augment, inputs, layers, losses, networks
from svhn_jax.runs import folder as run_folder
from svhn_jax.training.dataset import load_images

STILL = AugmentConfig(random_crop=False, brightness=0.0, contrast=0.0, saturation=0.0)
CHANGES: tuple[dict[str, Any], ...] = (
    {"brightness": 0.2},
    {"contrast": 0.4},
    {"saturation": 0.5},
    {"hue": 0.05},
    {"channel_gain": 0.15},
    {"channel_offset": 0.05},
    {"gamma": 0.3},
    {"blur": 0.7},
    {"downscale": 2.0},
    {"blur": 0.7, "downscale": 2.0},
    {"noise": 0.03},
    {"invert": 0.3},
    {"cutout": 12},
    {"scale": 0.1, "rotate_degrees": 5.0, "shear": 0.1},
)


@dataclass(frozen=True)
class Options:
    """Measures every random change of training images."""

    data: Path
    """prepared data set, for its train split"""
    images: int = 1000
    rounds: int = 20
    """of the timing"""

    def __post_init__(self) -> None:
        if self.images < 1 or self.rounds < 1:
            raise InputError("--images and --rounds must be at least 1")


def main() -> int:
    options = tyro.cli(Options, description=__doc__)
    config = config_files.load("configs/demo.py")
    split = load_images(str(options.data), "train", config)
    images, labels = (
        jnp.asarray(split.images[: options.images]),
        jnp.asarray(split.labels[: config.batch_size]),
    )
    costs = _costs(config, images[: config.batch_size], labels, options.rounds)
    table = Table(
        "change",
        "mean and contrast, %",
        "mean, %",
        "cost, % of a step",
        title=f"{len(images)} images",
    )
    figures = {}
    for change, cost in zip(CHANGES, costs, strict=True):
        name = ", ".join(f"{field} {value:g}" for field, value in change.items())
        changed = [_change(config, images, change, how) for how in ("mean and contrast", "mean")]
        figures[name] = [round(100 * share, 2) for share in (*changed, cost)]
        table.add_row(name, *map(str, figures[name]))
    console = Console(highlight=False, markup=False)
    console.print(table)
    about = {"device": jax.devices()[0].device_kind, "versions": run_folder.versions()}
    console.print(json.dumps({"percent": figures} | about), soft_wrap=True)
    return 0


def _change(
    config: Config,
    images: jax.Array,
    change: dict[str, Any],
    how: Literal["mean", "mean and contrast"],
) -> float:
    """RMS change of the input, as a share of its RMS."""
    image = dataclasses.replace(config.image, normalize=how)
    before = inputs.center_window(images, image)
    after = _augmentation(dataclasses.replace(config, image=image), change)(images)
    return float(jnp.sqrt(((after - before) ** 2).mean() / (before**2).mean()))


def _augmentation(config: Config, change: dict[str, Any]) -> Callable[[jax.Array], jax.Array]:
    changed = dataclasses.replace(STILL, **change)
    keys = lambda images: jax.random.split(jax.random.key(config.seed), len(images))  # noqa: E731
    return jax.jit(
        lambda images: augment.random_window(images, keys(images), config.image, changed)
    )


def _costs(config: Config, images: jax.Array, labels: jax.Array, rounds: int) -> list[float]:
    """Of each change, the time that it adds as a share of a step's forward and backward pass."""
    network, windows = networks.build(config.model), inputs.center_window(images, config.image)
    variables = jax.jit(lambda: network.init(jax.random.key(config.seed), windows, False))()

    def loss(variables: Any) -> jax.Array:
        logits, _ = network.apply(variables, windows, True, mutable=["batch_stats"])
        return losses.cross_entropy(logits, labels, config.loss).mean()

    one_device = jax.vmap(
        jax.grad(loss), axis_name=layers.AXIS
    )  # the batch norms want the name of an axis
    batch = jax.tree.map(lambda leaf: leaf[None], variables)
    step = jax.jit(one_device)
    augmentations = [_augmentation(config, change) for change in ({}, *CHANGES)]
    jobs = [partial(step, batch), *(partial(job, images) for job in augmentations)]
    times: list[list[float]] = [[] for _ in jobs]
    for done in range(rounds + 1):
        for job, of_job in zip(jobs, times, strict=True):
            start = time.perf_counter()
            jax.block_until_ready(job())
            if done:  # the first round compiles
                of_job.append(time.perf_counter() - start)
    step_s, still_s, *changed_s = map(statistics.median, times)
    return [(seconds - still_s) / step_s for seconds in changed_s]


if __name__ == "__main__":
    run_command(main)
