"""The set-up of a run: data, mesh, network and folder, checked against the configuration."""

from dataclasses import dataclass

import jax
from flax import linen as nn
from jax.sharding import Mesh

from svhn_jax.config import Config
from svhn_jax.data import arrays, remote
from svhn_jax.data.arrays import Split
from svhn_jax.errors import InputError
from svhn_jax.model import counting, inputs, networks
from svhn_jax.output import Terminal
from svhn_jax.runs import versions
from svhn_jax.runs.checkpoint import Checkpoints
from svhn_jax.runs.folder import DataRecord, RunFolder
from svhn_jax.training import devices, input_pipeline
from svhn_jax.training import state as states
from svhn_jax.training.dataset import (
    TrainingSet,
    load_images,
    load_training_set,
    refuse_held_out_photos,
)
from svhn_jax.training.state import TrainState


@dataclass(frozen=True)
class RunSetup:
    """A run before its first step."""

    config: Config
    mesh: Mesh
    data: TrainingSet
    validation: Split
    has_test: bool
    run: RunFolder
    network: nn.Module
    total_steps: int

    @property
    def fingerprints(self) -> dict[str, str]:
        """Fingerprint of each split that the run trains or validates on."""
        return {"train": self.data.fingerprint, "validation": self.validation.fingerprint}

    def fresh_state(self) -> TrainState:
        """The state before the first step; a function of the config alone."""
        return states.create(self.config, self.network)


def prepare(config: Config) -> RunSetup:
    """Loads the data, and checks the configuration against devices and data.

    Raises:
      InputError: they do not suit the configuration.
    """
    mesh = devices.make_mesh()
    devices.check_batch_size("batch_size", config.batch_size, mesh)
    data, validation = load_training_set(config), load_images(config.data.dir, "validation", config)
    if config.batch_size > len(data.epoch):
        most = len(data.epoch) // mesh.size * mesh.size
        remedy = (
            f"give --batch-size {most} or less"
            if most
            else f"train on fewer than {mesh.size} devices"
        )
        raise InputError(
            f"batch_size is {config.batch_size}, more than the {len(data.epoch)} images of an epoch; {remedy}"
        )
    refuse_held_out_photos(config)
    run = RunFolder(f"{config.runs_dir}/{config.name}")
    total_steps = config.total_steps(len(data.epoch))
    has_test = "test" in arrays.nonempty_splits(remote.local(config.data.dir))
    return RunSetup(
        config, mesh, data, validation, has_test, run, networks.build(config.model), total_steps
    )


def open_checkpoints(terminal: Terminal, setup: RunSetup) -> Checkpoints:
    """Locks the run's folder for writing, and checks a saved run against configuration and data.

    Raises:
      InputError: another process trains the run, or its saved configuration or data differ.
    """
    setup.run.lock(terminal)
    saved = setup.run.facts()
    if "published" in saved:
        raise InputError(
            f"{setup.run.path}: holds published weights, which cannot be trained on; give another --name"
        )
    data = DataRecord.of(setup.config, setup.fingerprints, setup.validation.crop)
    checkpoints = Checkpoints(
        setup.run.steps_path,
        terminal,
        keep_newest=setup.config.keep_newest,
        keep_every_steps=setup.config.keep_every_steps,
        is_writer=True,
    )
    has_steps = bool(checkpoints.steps())
    if has_steps and (note := versions.note(saved.get("versions", {}))):
        terminal.print(note)
    facts = {"versions": versions.versions(), "total_steps": setup.total_steps}
    setup.run.start_or_continue(setup.config, data, facts, has_steps=has_steps)
    return checkpoints


def describe(terminal: Terminal, setup: RunSetup, placement: input_pipeline.Placement) -> None:
    """Prints what will be trained, on what."""
    config, data = setup.config, setup.data
    window = f"{config.image.crop} of {data.side} pixels"
    params = counting.count_params(jax.eval_shape(setup.fresh_state).params)
    macs = counting.count_macs(setup.network, inputs.input_shape(config.image))
    devices = jax.devices()
    among = f" of {jax.process_count()} processes" if jax.process_count() > 1 else ""
    rows = {
        "run": f"{config.name}, in {setup.run.path}",
        "data": f"{', '.join((config.data.dir, *config.data.mix_in))}: {len(data.labels):,} training images "
        f"({len(data.epoch):,} an epoch), {len(setup.validation.labels):,} validation",
        "input": placement.reason,
        "batch": f"{config.batch_size} images over {len(devices)} device(s){among}: {devices[0].device_kind}",
        "epochs": f"{setup.total_steps * config.batch_size / len(data.epoch):.4g}, {setup.total_steps:,} steps",
        "learning rate": f"{config.optimizer.learning_rate:g}, {config.optimizer.schedule}",
        "random crop": window if config.augment.random_crop else f"no (the middle {window})",
        "grayscale": "yes" if config.image.grayscale else "no",
        "model": f"{config.model.architecture}, {params:,} parameters, "
        f"{macs / 1e6:,.1f} million multiply-accumulates an image, {config.model.compute_dtype}",
    }
    for name, text in rows.items():
        terminal.print(f"{name + ':':15}{text}")
