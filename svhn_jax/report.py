"""python -m svhn_jax.report --run FOLDER --to FILE.html: what a run learned, or what a data set holds, as one page.

Of a run: learning curves, the accuracy of its steps, and of one step, scored anew: confidence, confusions, the most
confident errors. With --data DIR alone, of a prepared data set: numbers, sizes, photos, and what was skipped. The file
needs no network and runs no script.
"""

from svhn_jax import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()  # the imports below take time

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from svhn_jax import command_line, files, output
from svhn_jax.errors import InputError, naming_out_of_memory, run_command
from svhn_jax.options import OptionalStr, OutputOptions
from svhn_jax.output import Output


@dataclass(frozen=True)
class Options:
    """Writes a report as one HTML file."""

    to: Path
    """the HTML file to write"""
    run: OptionalStr = None
    """the folder of a run"""
    data: OptionalStr = None
    """a prepared data set: alone, the report is of it; with --run, the run is scored on it"""
    split: Literal["train", "validation", "test"] = "test"
    """what the run is scored on"""
    step: str = "best"
    """the step that is scored: best (on validation while training), latest or a step's number"""
    output: OutputOptions = field(default_factory=Output)

    def __post_init__(self) -> None:
        if self.run is None and self.data is None:
            raise InputError("give --run FOLDER or --data DIR")
        if self.to.suffix.lower() not in (".html", ".htm"):
            raise InputError(f"--to is {self.to}; its name must end in .html")
        if not self.to.absolute().parent.is_dir():
            raise InputError(f"--to is {self.to}; there is no folder {self.to.absolute().parent}")
        if self.step == "all":
            raise InputError("--step is all; a report is of one step: best, latest or a number")


def main() -> int:
    options = command_line.parse(Options, "python -m svhn_jax.report", __doc__ or "")
    console = output.console(options.output)
    files.require_writable(options.to)
    html, result = _of_run(options) if options.run else _of_data(options)
    files.write_text(options.to, html)
    console.print(f"{options.to}: open it in a browser", soft_wrap=True)
    output.print_json(options.output, {"report": str(options.to)} | result)
    return 0


def _of_data(options: Options) -> tuple[str, dict[str, Any]]:
    """The page, and what --json says of it."""
    from svhn_jax.reports import data_report  # imports matplotlib, which takes time: not for --help

    return data_report.render(Path(options.data or "")), {"data": options.data}


def _of_run(options: Options) -> tuple[str, dict[str, Any]]:
    from svhn_jax.inference import scoring  # imports JAX, which takes seconds: not for --help
    from svhn_jax.reports import run_report
    from svhn_jax.training import compilation

    compilation.enable_compilation_cache()
    with naming_out_of_memory("eval_batch_size of the run's config.json sets them"):
        scored = scoring.score_step(options.run or "", options.split, options.step, options.data)
    result = {"run": options.run, "split": options.split, "step": scored.step} | scored.metrics
    return run_report.render(run_report.gather(scored, options.split)), result


if __name__ == "__main__":
    run_command(main)
