"""python -m svhn_jax.report --run FOLDER --to FILE.html: a run, or a data set, as one page.

Of a run: learning curves, the accuracy of its steps, and of one step, scored anew: confidence,
confusions, the most confident errors. With --data DIR only, of a prepared data set: numbers, sizes,
photos, and skipped records. The file needs no network and runs no script.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from svhn_jax import cli, files
from svhn_jax.checked import Checked
from svhn_jax.errors import InputError
from svhn_jax.output import Terminal


@dataclass(frozen=True)
class Options(Checked):
    """Writes a report as one HTML file."""

    to: Annotated[Path, cli.file_rule(".html")]
    """the HTML file to write"""
    run: str | None = None
    """the folder of a run"""
    data: str | None = None
    """a prepared data set: alone, the report is of it; with --run, the run is scored on it"""
    split: Literal["train", "validation", "test"] = "validation"
    """the split that the run is scored on"""
    step: str = "best"
    """the step that is scored: best (on validation while training), latest or a step's number"""


def main(options: Options, terminal: Terminal) -> None:
    files.require_writable(options.to)
    if options.run:
        from svhn_jax.inference import scoring  # these imports take seconds: not for --help
        from svhn_jax.reports import run_report

        run, split = options.run, options.split
        scored = scoring.score_step(run, split, options.step, options.data, terminal=terminal)
        html = run_report.render(scored, split)
        result = {"run": run, "split": split, "step": scored.step} | scored.metrics
    elif options.data:
        from svhn_jax.reports import data_report

        html, result = data_report.render(Path(options.data)), {"data": options.data}
    else:
        raise InputError("give --run FOLDER or --data DIR")
    files.write_text(options.to, html)
    terminal.print(f"{options.to}: open it in a browser")
    terminal.result({"report": str(options.to)} | result)


if __name__ == "__main__":
    cli.run(Options, main)
