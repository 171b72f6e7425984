"""The set-up of a run: data, mesh and folder, checked against the configuration."""

from dataclasses import dataclass
from typing import Any

import jax
from jax.sharding import Mesh

from svhn_jax.config import Config
from svhn_jax.errors import InputError
from svhn_jax.model import counting
from svhn_jax.output import Terminal
from svhn_jax.runs import versions
from svhn_jax.runs.checkpoint import Checkpoints
from svhn_jax.runs.folder import DataRecord, RunFolder
from svhn_jax.training import devices
from svhn_jax.training import state as states
from svhn_jax.training.dataset import TrainingSet
from svhn_jax.training.input_pipeline import Placement
from svhn_jax.training.task import Task


@dataclass(frozen=True)
class RunSetup:
    """A run before its first step. fingerprints: of the splits that it trains and validates on."""

    config: Config
    task: Task
    mesh: Mesh
    data: TrainingSet
    validation: Any
    fingerprints: dict[str, str]
    run: RunFolder
    total_steps: int


def prepare(task: Task, run: RunFolder) -> RunSetup:
    """Loads the data, and checks the configuration against devices and data.

    Raises:
      InputError: they do not suit the configuration.
    """
    config, mesh = task.config, devices.make_mesh()
    devices.check_batch_size("batch_size", config.batch_size, mesh)
    data, validation = task.load()
    images = len(data.epoch)
    if config.batch_size > images:
        most = images // mesh.size * mesh.size
        remedy = f"give --batch-size {most} or less" if most else "train on fewer devices"
        raise InputError(
            f"batch_size is {config.batch_size}, and an epoch has {images} images; {remedy}"
        )
    fingerprints = {"train": data.fingerprint, "validation": validation.fingerprint}
    steps = config.total_steps(images)
    return RunSetup(config, task, mesh, data, validation, fingerprints, run, steps)


def open_checkpoints(setup: RunSetup, terminal: Terminal) -> Checkpoints:
    """Locks the run's folder for writing, and checks a saved run against configuration and data.

    Raises:
      InputError: another process trains the run, or its saved configuration or data differ.
    """
    config, run = setup.config, setup.run
    run.lock(terminal)
    saved = run.facts()
    if "published" in saved:
        raise InputError(
            f"{run.path}: holds published weights; train from them with --start {run.path} and "
            "another --name"
        )
    checkpoints = Checkpoints(
        run.steps_path,
        terminal,
        keep_newest=config.keep_newest,
        keep_every_steps=config.keep_every_steps,
        is_writer=True,
    )
    data = DataRecord.of(config, setup.fingerprints, setup.validation.crop)
    facts = {"versions": versions.versions(), "total_steps": setup.total_steps}
    has_steps = bool(checkpoints.steps())
    run.start_or_continue(config, data, facts, has_steps=has_steps)
    if has_steps and (note := versions.note(saved.get("versions", {}))):
        terminal.print(note)
    return checkpoints


def describe(setup: RunSetup, placement: Placement, terminal: Terminal) -> None:
    """Prints what will be trained, on what."""
    config, data, task, steps = setup.config, setup.data, setup.task, setup.total_steps
    window = f"{config.image.crop} of {data.side} pixels"
    params = counting.count_params(states.abstract_variables(task)["params"])
    macs = counting.count_macs(task.network, task.input_shape)
    many = jax.devices()
    folders = ", ".join((config.data.dir, *config.data.mix_in))
    among = f" of {jax.process_count()} processes" if jax.process_count() > 1 else ""
    rows = {
        "run": f"{config.name}, in {setup.run.path}",
        "data": f"{folders}: {len(data.labels):,} training images ({len(data.epoch):,} an epoch), "
        f"{len(setup.validation.labels):,} validation",
        "input": placement.reason,
        "batch": f"{config.batch_size} images over {len(many)} device(s){among}: "
        f"{many[0].device_kind}",
        "epochs": f"{steps * config.batch_size / len(data.epoch):.4g}, {steps:,} steps",
        "learning rate": f"{config.optimizer.learning_rate:g}, {config.optimizer.schedule}",
        "random crop": window if config.augment.random_crop else f"no (the middle {window})",
        "grayscale": "yes" if config.image.grayscale else "no",
        "model": f"{config.model.architecture}, {params:,} parameters, {macs / 1e6:,.1f} million "
        f"multiply-accumulates an image, {config.model.compute_dtype}",
    }
    for name, text in rows.items():
        terminal.print(f"{name + ':':15}{text}")
