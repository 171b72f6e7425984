"""python -m svhn_jax.publish --run FOLDER --to NEW: publishes the weights of one saved step.

NEW is a small run folder that commands read like any other, without the optimizer's state, the
other steps and the logs. A reader's confidence is calibrated: its logits are divided by a
temperature fitted on the run's validation photos. That changes no digit, but in rare cases the
predicted length; the command prints how often. The compute_dtype is float32, and paths are those of
the configuration, so that they do not name this machine's folders.

A network trained further from another run (train --start) often reads best half way between: see
--average (Wortsman et al., arXiv:2109.01903).
"""

import dataclasses
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from svhn_jax import cli, files
from svhn_jax.checked import Checked, at_least, within
from svhn_jax.config import Config
from svhn_jax.errors import InputError
from svhn_jax.output import Terminal

if TYPE_CHECKING:  # it imports JAX, which takes seconds
    from svhn_jax.inference.calibration import Calibrated


@dataclass(frozen=True)
class Options(Checked):
    """Writes the weights of one saved step as a small run."""

    run: str
    """the folder of a trained run"""
    to: Path
    """the folder to write; it must not exist"""
    data: str | None = None
    """another prepared data set than the run's own, for the validation photos"""
    average: str | None = None
    """another run of the same network: its best step's weights are averaged in"""
    share: Annotated[float, within(0, 1)] = 0.5
    """of `run` in the average"""
    temperature: Annotated[float, at_least(0)] = 0.0
    """to calibrate with, for a run that was trained on all labelled photos; 0: it is fitted"""
    step: str = "best"
    """best (on validation while training), latest or a step's number"""


def main(options: Options, terminal: Terminal) -> None:
    if options.to.exists():
        raise InputError(f"{options.to}: exists already; move it away, or give another --to")
    files.require_writable(options.to)
    from svhn_jax.inference.reader import choose_step
    from svhn_jax.runs.checkpoint import Checkpoints
    from svhn_jax.runs.folder import RunFolder

    run = RunFolder(options.run)
    with Checkpoints(run.steps_path, terminal) as checkpoints:
        step = choose_step(options.step, checkpoints, run)
        weights, validation = checkpoints.restore_weights(step), checkpoints.validation(step)
    if options.average:
        weights = _averaged(weights, options.average, options.share)
    numbers = dict[str, float]()
    if str(run.config().model.architecture) != "finder":
        fitted = _calibrated(options, step, weights, terminal)
        weights, validation = fitted.variables, fitted.metrics
        numbers = {"temperature": fitted.temperature, "changed": fitted.changed}
    facts = {"run": run.config().name, "step": step, "versions": run.facts().get("versions", {})}
    _write(options, step, weights, validation, facts | numbers)
    size = sum(path.stat().st_size for path in options.to.rglob("*") if path.is_file())
    terminal.print(f"{options.to}: step {step}, {size / 1e6:.1f} MB")
    terminal.result({"step": step, "bytes": size} | numbers)


def _averaged(weights: Any, other: str, share: float) -> Any:
    """share x weights + (1 - share) x those of the best step of the run `other`."""
    import jax

    from svhn_jax.inference.reader import choose_step
    from svhn_jax.runs.checkpoint import Checkpoints
    from svhn_jax.runs.folder import RunFolder

    def mean(ours: Any, theirs: Any) -> Any:
        return (share * ours + (1 - share) * theirs).astype(ours.dtype)

    run = RunFolder(other)
    with Checkpoints(run.steps_path) as checkpoints:
        theirs = checkpoints.restore_weights(choose_step("best", checkpoints, run))
    return jax.tree.map(mean, weights, theirs)


def _calibrated(options: Options, step: int, weights: Any, terminal: Terminal) -> "Calibrated":
    """The weights of a reader with calibrated confidence; prints what that changes."""
    from svhn_jax.inference import calibration
    from svhn_jax.inference.reader import Reader
    from svhn_jax.inference.scoring import open_split

    reader = Reader(options.run, step, is_float32=True)
    split, _ = open_split(reader.folder, "validation", options.data)
    reader.use(weights)
    fitted = calibration.calibrate(reader, split, options.temperature)
    changes = f"{fitted.changed:,} of {len(split.labels):,} predictions"
    terminal.print(f"temperature {fitted.temperature:.3f}, which changes {changes}")
    return fitted


def _write(
    options: Options, step: int, weights: Any, validation: dict[str, float], facts: dict[str, Any]
) -> None:
    """Writes the run of one step beside `options.to`, then renames it; a failure leaves nothing."""
    import jax

    from svhn_jax.runs.checkpoint import Checkpoints
    from svhn_jax.runs.folder import RunFolder

    run, to = RunFolder(options.run), options.to
    config = run.config()
    model = dataclasses.replace(config.model, compute_dtype="float32")
    public = dataclasses.replace(config, name=to.name, runs_dir=Config.runs_dir, model=model)
    record = dataclasses.replace(run.data(), folder=config.data.dir)
    to.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".publish-", dir=to.parent) as temporary:
        new = RunFolder(f"{temporary}/run")
        with Checkpoints(new.steps_path, is_writer=True) as checkpoints:
            checkpoints.save(step, jax.device_put(weights), validation)
        for marker in Path(temporary).rglob("commit_success.txt"):  # Orbax writes the path into it
            marker.write_text("Checkpoint commit was successful\n")
        new.start_or_continue(public, record, {"published": facts}, has_steps=False)
        Path(new.path).rename(to)


if __name__ == "__main__":
    cli.run(Options, main)
