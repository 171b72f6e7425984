"""python -m svhn_jax.train --config configs/NAME.py [overrides]: trains a run, or goes on with it.

A run is the folder RUNS/NAME (see svhn_jax.run_folder). The same command again goes on from its
newest checkpoint. Ctrl-C or SIGTERM saves first; then the exit status is 130 or 143.
"""

import argparse
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
from rich.console import Console

from svhn_jax import augment, config_files, metrics, model, optim, parallel, steps
from svhn_jax import state as states
from svhn_jax.checkpoint import Checkpoints
from svhn_jax.config import Config
from svhn_jax.data.arrays import Split
from svhn_jax.errors import InputError, run_command
from svhn_jax.run_folder import RunFolder
from svhn_jax.scoring import score_split
from svhn_jax.state import TrainState
from svhn_jax.summaries import Summaries
from svhn_jax.training_data import TrainingSet, load_images, load_training_set


def main() -> int:
    console = Console(highlight=False)
    config = _parse_command_line()
    mesh = parallel.make_mesh()
    parallel.check_batch_size("batch_size", config.batch_size, mesh)
    data, validation = load_training_set(config), load_images(config.data.dir, "validation", config)
    run = RunFolder(f"{config.runs_dir}/{config.name}")
    run.start_or_continue(config, {"train": data.fingerprint, "validation": validation.fingerprint})

    total_steps = max(1, round(config.num_epochs * len(data.order) / config.batch_size))
    network, tx = model.build(config.model), optim.optimizer(config.optimizer, total_steps)
    abstract = jax.eval_shape(lambda: states.create(config, network, tx))
    _describe(console, config, data, validation, total_steps, abstract, network, run)
    with Checkpoints(run.steps_path, keep_newest=config.keep_newest, is_writer=True) as checkpoints:
        if saved := checkpoints.steps():
            state = checkpoints.restore(saved[-1], abstract, parallel.replicated(mesh))
            console.print(f"Restored step {saved[-1]} from {run.steps_path}", soft_wrap=True)
        else:
            state = jax.jit(lambda: states.create(config, network, tx), out_shardings=parallel.replicated(mesh))()
        with _noting_signals(console) as received:
            step = _train(config, state, data, validation, total_steps, checkpoints, run, console, received)
        checkpoints.wait()
        if received:
            console.print(f"Saved step {step} to {run.steps_path}; the same command goes on from there", soft_wrap=True)
            return 128 + received[0]
        best = checkpoints.best_step()
    console.print(
        f"Done: {total_steps} steps in {run.path}; best on validation: step {best}. Next:\n"
        f"  python -m svhn_jax.evaluate --run {run.path} --split test --step best",
        soft_wrap=True,
    )
    return 0


def _parse_command_line() -> Config:
    parser = argparse.ArgumentParser(prog="python -m svhn_jax.train", add_help=False)
    parser.add_argument("--config")
    known, rest = parser.parse_known_args()
    if known.config is None and not {"-h", "--help"} & set(rest):
        raise InputError("no --config given; for example --config configs/demo.py")
    config = config_files.load(known.config) if known.config else Config()
    description = f"{__doc__}\n\nAlso: --config FILE, the configuration these options override."
    return config_files.override(config, rest, description)


def _describe(
    console: Console, config: Config, data: TrainingSet, validation: Split, total_steps: int,
    abstract: TrainState, network: Any, run: RunFolder,
) -> None:  # fmt: skip
    macs = model.count_macs(network, augment.input_shape(config.image))
    folders = ", ".join((config.data.dir, *config.data.mix_in))
    image = f"{config.image.crop} of {data.side} pixels"
    devices = jax.devices()
    rows = {
        "run": f"{config.name}, in {run.path}",
        "data": f"{folders}: {len(data.labels):,} training images ({len(data.order):,} an epoch), {len(validation.labels):,} validation",
        "batch": f"{config.batch_size} images over {len(devices)} device(s): {devices[0].device_kind}",
        "epochs": f"{config.num_epochs:g}, {total_steps:,} steps",
        "learning rate": f"{config.optimizer.learning_rate:g}, {config.optimizer.schedule}",
        "random crop": f"{image}" if config.augment.random_crop else f"no (the middle {image})",
        "grayscale": "yes" if config.image.grayscale else "no",
        "model": f"{config.model.architecture}, {model.count_params(abstract.params):,} parameters, "
        f"{macs / 1e6:,.1f} million multiply-accumulates an image, {config.model.compute_dtype}",
    }
    for name, text in rows.items():
        console.print(f"{name + ':':15}{text}", markup=False, soft_wrap=True)


def _train(
    config: Config, state: TrainState, data: TrainingSet, validation: Split, total_steps: int,
    checkpoints: Checkpoints, run: RunFolder, console: Console, received: list[int],
) -> int:  # fmt: skip
    """The loop: step; every so often a line; every so often evaluate, save, draw. Returns the last step."""
    mesh = parallel.make_mesh()
    network, tx = model.build(config.model), optim.optimizer(config.optimizer, total_steps)
    train_step, eval_step = (
        steps.make_train_step(config, network, tx, mesh),
        steps.make_eval_step(config, network, mesh),
    )
    learning_rate = optim.schedule(config.optimizer, total_steps)
    first_step = int(state.step)
    if first_step >= total_steps:
        console.print(f"Nothing left to train: the run has its {total_steps} steps")
        return first_step
    images, labels = parallel.put((data.images, data.labels), parallel.replicated(mesh))
    sums: list[Any] = []
    with Summaries(
        run, console, first_step=first_step, total_steps=total_steps, batch_size=config.batch_size
    ) as summaries:
        for step in range(first_step + 1, total_steps + 1):
            rows = parallel.put(
                steps.rows_of_step(step - 1, config.batch_size, data.order, config.seed), parallel.sharded(mesh)
            )
            state, step_sums = train_step(state, images, labels, rows)
            if sums:  # while this step runs, wait for the one before it
                sums[-1] = jax.device_get(sums[-1])
                summaries.advance(step - 1)
            sums.append(step_sums)
            is_last = step == total_steps or bool(received)
            if step % config.log_every_steps == 0 or step == total_steps:
                summaries.write_train(step, metrics.summarize(jax.device_get(sums)), float(learning_rate(step - 1)))
                sums = []
            if step % config.eval_every_steps == 0 or step == total_steps:
                jax.block_until_ready(state)
                summaries.pause()
                variables = state.eval_variables()
                figures, readings = score_split(eval_step, variables, validation, config.eval_batch_size, mesh)
                checkpoints.save(state, figures)
                summaries.write_validation(step, figures, validation, readings, variables["params"])
                summaries.resume()
            if is_last:
                break
    if received:
        checkpoints.save(state, None)
    return step


@contextmanager
def _noting_signals(console: Console) -> Iterator[list[int]]:
    """Within the block SIGINT and SIGTERM are put in the list yielded; a second one interrupts at once."""
    received: list[int] = []

    def note(number: int, frame: Any) -> None:
        received.append(number)
        if len(received) > 1:
            raise KeyboardInterrupt
        console.print("\nstopping: saving after this step (once more to stop at once)")

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.argv[0] = "python -m svhn_jax.train"
    run_command(main)
