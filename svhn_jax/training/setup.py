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
from svhn_jax.training.task import Task


@dataclass(frozen=True)
class RunSetup:
    """A run before its first step. is_resident: its training images are kept on the devices."""

    config: Config
    task: Task
    mesh: Mesh
    data: TrainingSet
    validation: Any
    run: RunFolder
    total_steps: int
    is_resident: bool = False

    @property
    def fingerprints(self) -> dict[str, str]:
        """Fingerprint of each split that the run trains or validates on."""
        return {"train": self.data.fingerprint, "validation": self.validation.fingerprint}


def prepare(task: Task, run: RunFolder) -> RunSetup:
    """Loads the data, and checks the configuration against devices and data.

    Raises:
      InputError: they do not suit the configuration.
    """
    config, mesh = task.config, devices.make_mesh()
    devices.check_batch_size("batch_size", config.batch_size, mesh)
    data, validation = task.load()
    if config.batch_size > len(data.epoch):
        most = len(data.epoch) // mesh.size * mesh.size
        remedy = f"give --batch-size {most} or less" if most else "train on fewer devices"
        raise InputError(
            f"batch_size is {config.batch_size}, more than the {len(data.epoch)} images of an "
            f"epoch; {remedy}"
        )
    return RunSetup(config, task, mesh, data, validation, run, config.total_steps(len(data.epoch)))


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


def describe(setup: RunSetup, reason: str, terminal: Terminal) -> None:
    """Prints what will be trained, on what. reason: see `input_pipeline.Placement`."""
    config, data, task = setup.config, setup.data, setup.task
    window = f"{config.image.crop} of {data.side} pixels"
    params = counting.count_params(states.abstract_variables(task)["params"])
    macs = counting.count_macs(task.network, task.input_shape)
    everywhere = jax.devices()
    among = f" of {jax.process_count()} processes" if jax.process_count() > 1 else ""
    rows = {
        "run": f"{config.name}, in {setup.run.path}",
        "data": f"{', '.join((config.data.dir, *config.data.mix_in))}: {len(data.labels):,} training "
        f"images ({len(data.epoch):,} an epoch), {len(setup.validation.labels):,} validation",
        "input": reason,
        "batch": f"{config.batch_size} images over {len(everywhere)} device(s){among}: "
        f"{everywhere[0].device_kind}",
        "epochs": f"{setup.total_steps * config.batch_size / len(data.epoch):.4g}, "
        f"{setup.total_steps:,} steps",
        "learning rate": f"{config.optimizer.learning_rate:g}, {config.optimizer.schedule}",
        "random crop": window if config.augment.random_crop else f"no (the middle {window})",
        "grayscale": "yes" if config.image.grayscale else "no",
        "model": f"{config.model.architecture}, {params:,} parameters, {macs / 1e6:,.1f} million "
        f"multiply-accumulates an image, {config.model.compute_dtype}",
    }
    for name, text in rows.items():
        terminal.print(f"{name + ':':15}{text}")
