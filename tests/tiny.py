"""Shared by tests: a tiny configuration and random data of a given size."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh

from svhn_jax import labels
from svhn_jax.config import (
    AugmentConfig,
    Config,
    DataConfig,
    ImageConfig,
    ModelConfig,
    OptimizerConfig,
)
from svhn_jax.data import arrays, writing
from svhn_jax.data.crop import CropRule
from svhn_jax.model.layers import AXIS
from svhn_jax.runs.checkpoint import Checkpoints
from svhn_jax.runs.folder import DataRecord, RunFolder
from svhn_jax.training import steps
from svhn_jax.training.reader_task import ReaderTask
from svhn_jax.training.steps import TrainState

CONFIG = Config(
    name="tiny",
    num_epochs=2,
    batch_size=16,
    log_every_steps=2,
    eval_every_steps=3,
    data=DataConfig(dir="data/tiny"),
    image=ImageConfig(crop=20),
    augment=AugmentConfig(scale=0.1, rotate_degrees=5, shear=0.1, hue=0.05),
    model=ModelConfig(patch=4, width=8, blocks=(1, 1)),
    optimizer=OptimizerConfig(learning_rate=0.01, warmup_fraction=0.1, ema_decay=0.9),
)


def mesh_of(count: int) -> Mesh:
    """The first `count` of the virtual devices."""
    return jax.make_mesh(
        (count,), (AXIS,), devices=jax.devices()[:count], axis_types=(AxisType.Auto,)
    )


def random_split(count: int, *, side: int = 24, seed: int = 0, max_digits: int = 5) -> arrays.Split:
    """Random images uint8[count, side, side, 3] of random numbers of 1 to max_digits digits."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, side, side, 3), np.uint8)
    numbers = [rng.integers(0, 10, rng.integers(1, 1 + max_digits)).tolist() for _ in range(count)]
    names = np.array([f"train/{n}.png" for n in range(count)], dtype="S")
    return arrays.Split(
        images,
        np.array([labels.encode(one, max_digits) for one in numbers], np.int32).reshape(
            -1, 1 + max_digits
        ),
        names,
        f"random {seed}",
        CropRule(side, 0.3),
    )


def prepare(
    folder: Path,
    count: int,
    *,
    validation: int = 0,
    side: int = 24,
    seed: int = 0,
    max_digits: int = 5,
) -> arrays.Split:
    """A prepared data set of random images; returns its train split."""
    folder.mkdir(parents=True)
    entries, train = {}, random_split(count, side=side, seed=seed, max_digits=max_digits)
    splits = {"train": train} | (
        {"validation": random_split(validation, side=side, seed=seed + 100, max_digits=max_digits)}
        if validation
        else {}
    )
    for name, split in splits.items():
        photos = zip(split.labels, split.names, strict=True)
        box, shape = (1.0, 1.0, 1.0, 1.0), {"size": side, "max_digits": max_digits}
        rows = [writing.Row(name.decode(), label, box, (side, side)) for label, name in photos]
        images = (image.tobytes() for image in split.images)
        entries[name] = writing.write_split(folder / name, images, rows, **shape)
    manifest = {
        "format": arrays.FORMAT,
        "crop": {"size": side, "margin": 0.3},
        "splits": entries,
        "sources": {},
    }
    if max_digits != 5:
        manifest["max_digits"] = max_digits
    (folder / arrays.MANIFEST).write_text(json.dumps(manifest))
    return train


def save_run(folder: Path, config: Config = CONFIG) -> tuple[RunFolder, Config, TrainState]:
    """A run at folder/run of fresh weights, saved as step 7, of prepared data at folder/data."""
    prepare(folder / "data", 3, validation=4)
    config = dataclasses.replace(config, data=DataConfig(dir=str(folder / "data")))
    run = RunFolder(str(folder / "run"))
    validation = arrays.load_split(folder / "data", "validation")
    record = DataRecord.of(
        config, {"train": "t", "validation": validation.fingerprint}, validation.crop
    )
    run.start_or_continue(config, record, has_steps=False)
    state = jax.jit(lambda: steps.create(ReaderTask(config)))()
    with Checkpoints(run.steps_path, is_writer=True) as checkpoints:
        checkpoints.save(7, state.tree(), {"sequence_accuracy": 0.5, "loss": 1.0})
    return run, config, state


def float32_products(function: Callable[..., Any], *arguments: Any) -> list[str]:
    """The lines of float32 matrix products and convolutions of a function lowered for a GPU."""
    lowered = jax.jit(function).trace(*arguments).lower(lowering_platforms=("cuda",)).as_text()
    lines = [
        line
        for line in lowered.splitlines()
        if "stablehlo.dot_general" in line or "stablehlo.convolution" in line
    ]
    return [line for line in lines if "xf32>, tensor" in line]


def write_config(folder: Path, config: Config, name: str = "tiny.py") -> None:
    """A configuration file in `folder`."""
    (folder / name).write_text(f"from svhn_jax.config import *\nconfig = {config!r}\n")
