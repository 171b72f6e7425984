"""python -m svhn_jax.publish --run FOLDER --to NEW: the weights of one saved step, as a small run for others to read with.

NEW is a run folder that svhn_jax.evaluate reads like any other, without what only training needs: the optimizer's state,
the other steps and the logs. Its confidence is calibrated: the heads' logits are divided by a temperature that is fitted on
the run's validation photos. That changes no digit, but in rare cases the predicted length; the command tells how often.
Its compute_dtype is float32, also if the run was trained in bfloat16. Paths in it are those of the configuration,
so that it does not name this machine's folders.
"""

from svhn_jax import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()  # the imports below take time

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from svhn_jax import command_line, files, output
from svhn_jax.config import Config
from svhn_jax.data import writing
from svhn_jax.errors import CheckpointError, InputError, one_line, run_command
from svhn_jax.options import Evaluate, OptionalStr, OutputOptions
from svhn_jax.output import Output

if TYPE_CHECKING:  # they import JAX, which takes seconds
    from svhn_jax.inference.calibration import Calibrated
    from svhn_jax.runs.folder import DataRecord

FEW_PHOTOS = 200
FEW_CHANGES = 50  # at most one prediction in so many may change without a warning


@dataclass(frozen=True)
class Options:
    """Writes the weights of one saved step as a small run."""

    run: str
    """the folder of a trained run"""
    to: Path
    """the folder to write; it must not exist"""
    data: OptionalStr = None
    """another prepared data set than the run's own, for the validation photos"""
    step: str = "best"
    """best (on validation while training), latest or a step's number"""
    output: OutputOptions = field(default_factory=Output)

    def __post_init__(self) -> None:
        if self.to.exists():
            raise InputError(f"{self.to}: exists already; move it away, or give another --to")


def main() -> int:
    options = command_line.parse(Options, "python -m svhn_jax.publish", __doc__ or "")
    files.require_writable(options.to)
    # Imports JAX, which takes seconds: not for --help.
    from svhn_jax.inference import calibration
    from svhn_jax.inference.reader import Reader
    from svhn_jax.inference.source import load_split
    from svhn_jax.runs.checkpoint import Checkpoints
    from svhn_jax.runs.folder import RunFolder
    from svhn_jax.training import compilation

    console = output.console(options.output)
    compilation.enable_compilation_cache()
    run, reader = RunFolder(options.run), Reader(options.run, options.step, is_float32=True)
    config = dataclasses.replace(reader.config, name=options.to.name, runs_dir=Config.runs_dir)
    split, _ = load_split(
        Evaluate(run=options.run, split="validation", data=options.data), run, reader.config
    )
    if len(split.labels) < FEW_PHOTOS:
        console.print(
            f"warning: the temperature is fitted on {len(split.labels):,} photos; with fewer than {FEW_PHOTOS} it is uncertain",
            soft_wrap=True,
        )
    calibrated = calibration.calibrate(reader, split)
    record = dataclasses.replace(run.data(), folder=config.data.dir, mix_in=config.data.mix_in)
    with Checkpoints(run.steps_path) as saved:
        versions = saved.metadata(reader.step).get("versions", {})
    metadata = {  # without "versions": whoever reads with these weights has others, and need not be told
        "config": dataclasses.asdict(config),
        "data": dataclasses.asdict(record),
        "published": {
            "run": reader.config.name,
            "step": reader.step,
            "temperature": calibrated.temperature,
            "versions": versions,
        },
    }
    _write(options.to, config, record, metadata, calibrated)
    if calibrated.changed * FEW_CHANGES > len(split.labels):
        console.print(
            f"warning: the temperature changes {calibrated.changed:,} of {len(split.labels):,} predictions; a step that has "
            "learned more changes few: train longer, and score what was published before you use it",
            soft_wrap=True,
        )
    size = sum(path.stat().st_size for path in options.to.rglob("*") if path.is_file())
    console.print(
        f"{options.to}: step {reader.step}, {size / 1e6:.1f} MB, temperature {calibrated.temperature:.3f}, which changes "
        f"{calibrated.changed:,} of {len(split.labels):,} predictions. Read with it:\n"
        f"  python -m svhn_jax.evaluate --run {options.to} --data DIR --split test",
        soft_wrap=True,
    )
    result = {
        "step": reader.step,
        "bytes": size,
        "temperature": calibrated.temperature,
        "changed": calibrated.changed,
    }
    output.print_json(options.output, result)
    return 0


def _write(
    to: Path,
    config: Config,
    record: "DataRecord",
    metadata: dict[str, Any],
    calibrated: "Calibrated",
) -> None:
    """Writes the run folder as a whole."""
    import jax

    from svhn_jax.inference.weights import saved_form
    from svhn_jax.runs.checkpoint import Checkpoints
    from svhn_jax.runs.folder import RunFolder

    with writing.building(to, resumes=False) as folder:
        published, step = RunFolder(str(folder)), metadata["published"]["step"]
        variables = jax.device_put(saved_form(config, calibrated.variables))
        try:
            with Checkpoints(
                published.steps_path, metadata=metadata, is_writer=True
            ) as checkpoints:
                checkpoints.save(step, variables, calibrated.metrics)
        except CheckpointError as error:  # it names the temporary folder
            why = (
                one_line(error.__context__)
                if isinstance(error.__context__, Exception)
                else "the save failed"
            )
            raise CheckpointError(
                f"{to}: the weights could not be written; free some space there, or give another --to ({why})"
            ) from None
        for marker in folder.rglob(
            "commit_success.txt"
        ):  # Orbax writes this machine's path into it; only its presence counts
            marker.write_text("Checkpoint commit was successful\n")
        published.start_or_continue(config, record, has_steps=False)


if __name__ == "__main__":
    run_command(main)
