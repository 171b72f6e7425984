"""python -m svhn_jax.publish --run FOLDER --to NEW: publishes the weights of one saved step.

NEW is a small run folder that svhn_jax.evaluate reads like any other, without the optimizer's
state, the other steps and the logs. Its confidence is calibrated: the logits are divided by a
temperature fitted on the run's validation photos. That changes no digit, but in rare cases the
predicted length; the command prints how often. Its compute_dtype is float32, and its paths are
those of the configuration, so that it does not name this machine's folders.
"""

from dataclasses import dataclass
from pathlib import Path

from svhn_jax import cli, files
from svhn_jax.checked import Checked
from svhn_jax.cli import OptionalStr
from svhn_jax.errors import InputError
from svhn_jax.output import Terminal

FEW_PHOTOS = 200
FEW_CHANGES = 50  # warns if more than one prediction in 50 changes


@dataclass(frozen=True)
class Options(Checked):
    """Writes the weights of one saved step as a small run."""

    run: str
    """the folder of a trained run"""
    to: Path
    """the folder to write; it must not exist"""
    data: OptionalStr = None
    """another prepared data set than the run's own, for the validation photos"""
    step: str = "best"
    """best (on validation while training), latest or a step's number"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.to.exists():
            raise InputError(f"{self.to}: exists already; move it away, or give another --to")


def main(options: Options, terminal: Terminal) -> None:
    files.require_writable(options.to)
    from svhn_jax.inference import calibration
    from svhn_jax.inference.reader import Reader
    from svhn_jax.inference.scoring import open_split
    from svhn_jax.runs import published

    reader, to = Reader(options.run, options.step, is_float32=True), options.to
    split, _ = open_split(reader.folder, "validation", options.data)
    if len(split.labels) < FEW_PHOTOS:
        terminal.warn(f"the temperature, of {len(split.labels)} photos, is uncertain")
    fitted = calibration.calibrate(reader, split)
    numbers = {"temperature": fitted.temperature}
    published.write(to, reader.folder, reader.step, fitted.variables, fitted.metrics, numbers)
    changes = f"changes {fitted.changed:,} of {len(split.labels):,} predictions"
    if fitted.changed * FEW_CHANGES > len(split.labels):
        terminal.warn(f"the temperature {changes}; train longer, then publish a later step")
    size = sum(path.stat().st_size for path in to.rglob("*") if path.is_file())
    terminal.print(
        f"{to}: step {reader.step}, {size / 1e6:.1f} MB; temperature {fitted.temperature:.3f} "
        f"{changes}. Read with it:\n"
        f"  python -m svhn_jax.evaluate --run {to} --data DIR --split test"
    )
    terminal.result({"step": reader.step, "bytes": size, "changed": fitted.changed} | numbers)


if __name__ == "__main__":
    cli.run(Options, main)
