"""python tests/fuzz/fuzz_data.py --inputs N --seed S: svhn_jax.preprocess on damaged and hostile input.

Makes N inputs, each a sound split with a few things changed: tar headers, gzip streams, digitStruct.mat
byte by byte and through the HDF5 library, PNG and JPEG, labels.csv, folders, prepared sets, unfinished
builds. The command must end within 10 s and 2 GB, either with a set whose manifest accounts for every
record, or with one line that says what is wrong, and must touch nothing but its own. Prints a table by
kind, and as the last line the figures as JSON; ends with status 1 if the command failed on an input.
"""

import json
import os
import random
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # processes are forked from this one

import fuzz_inputs_folders
import fuzz_inputs_hdf5
import fuzz_inputs_mat
import fuzz_inputs_photos
import fuzz_inputs_prepared
import fuzz_inputs_tar
import fuzz_inputs_values
import fuzz_material
import fuzz_run
import fuzz_verdict
import tyro
from fuzz_scene import Material, Scene
from rich.console import Console
from rich.table import Table

from svhn_jax.errors import InputError, run_command

MODULES = (
    fuzz_inputs_tar,
    fuzz_inputs_mat,
    fuzz_inputs_hdf5,
    fuzz_inputs_values,
    fuzz_inputs_photos,
    fuzz_inputs_folders,
    fuzz_inputs_prepared,
)
KINDS = {name: kind for module in MODULES for name, kind in module.KINDS.items()}


@dataclass(frozen=True)
class Options:
    """Runs svhn_jax.preprocess on damaged and hostile input."""

    inputs: int = 3000
    """how many"""
    seed: int = 0
    """of all that is drawn: the same seed, the same inputs"""
    real: Path | None = None
    """folder with a real test.tar.gz to cut the material from; by default it is drawn"""
    jobs: int = 2
    """inputs tried at a time"""
    kinds: tuple[str, ...] = ()
    """kinds of input; by default all"""
    only: int | None = None
    """try this one input of them, as numbered in the list of failures"""
    keep: Path | None = None
    """folder for the inputs that the command failed on, and what it said"""

    def __post_init__(self) -> None:
        if self.inputs < 1 or self.jobs < 1:
            raise InputError("--inputs and --jobs must be at least 1")
        if unknown := sorted(set(self.kinds) - KINDS.keys()):
            raise InputError(
                f"--kinds: no kind {unknown[0]!r}; there are {', '.join(map(repr, KINDS))}"
            )


@dataclass(frozen=True)
class Outcome:
    """What became of one input."""

    index: int
    kind: str
    status: int
    seconds: float
    megabytes: float
    problems: tuple[str, ...]


def main() -> int:
    console = Console(highlight=False, markup=False)
    options = tyro.cli(Options, prog="python tests/fuzz/fuzz_data.py", description=__doc__)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as work:
        material = fuzz_material.make(Path(work) / "material", options.real)
        outcomes = _try_all(options, material, Path(work))
    for outcome in outcomes:
        for problem in outcome.problems:
            console.print(f"input {outcome.index} ({outcome.kind}): {problem}", soft_wrap=True)
    figures = _figures(outcomes, options)
    _print_table(console, figures["kinds"])
    print(json.dumps(figures))
    return 1 if figures["failures"] else 0


def _kinds_drawn(options: Options) -> list[str]:
    """The kind of each input: as often as its weight has it, and each at least once where there is room."""
    chosen = {
        name: weight
        for name, (_, weight) in KINDS.items()
        if not options.kinds or name in options.kinds
    }
    rng = random.Random(options.seed)
    drawn = [
        *chosen,
        *rng.choices(list(chosen), list(chosen.values()), k=max(0, options.inputs - len(chosen))),
    ]
    return drawn[: options.inputs]


def _try_all(options: Options, material: Material, work: Path) -> list[Outcome]:
    """Tries the inputs in `jobs` processes, each of which forks the command anew for every one."""
    kinds = list(enumerate(_kinds_drawn(options)))
    kinds = [kinds[options.only]] if options.only is not None else kinds
    for job in range(options.jobs):
        if not os.fork():
            status = 1
            try:
                with open(work / f"outcomes-{job}", "w") as stream:
                    for index, kind in kinds[job :: options.jobs]:
                        print(
                            json.dumps(vars(_try(options, material, work, index, kind))),
                            file=stream,
                            flush=True,
                        )
                status = 0
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(status)
    statuses = [os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(options.jobs)]
    lines = [
        line
        for job in range(options.jobs)
        for line in (work / f"outcomes-{job}").read_text().splitlines()
    ]
    outcomes = [Outcome(**json.loads(line)) for line in lines]
    if any(statuses) or len(outcomes) != len(kinds):
        raise InputError(
            f"{len(kinds) - len(outcomes)} inputs could not be made or judged; see above"
        )
    return sorted(outcomes, key=lambda outcome: outcome.index)


def _make(options: Options, material: Material, folder: Path, index: int, kind: str) -> Scene:
    scene = Scene(folder, random.Random(f"{options.seed} {index} {kind}"), material)
    scene.set_up()
    KINDS[kind][0](scene)
    return scene


def _try(options: Options, material: Material, work: Path, index: int, kind: str) -> Outcome:
    """Makes an input, runs the command on it, and judges; one that is late gets a second chance, alone on its core or not."""
    folder, log = work / f"{index}", work / f"{index}.log"
    for _ in range(2):
        scene = _make(options, material, folder, index, kind)
        before = fuzz_verdict.snapshot(scene)
        run = fuzz_run.run(scene, log)
        problems = fuzz_verdict.problems(scene, before, run)
        shutil.rmtree(folder)
        if not run.is_late:
            break
    if problems and options.keep:
        place = options.keep / f"{index}-{kind.replace(' ', '-')}"
        shutil.rmtree(place, ignore_errors=True)
        _make(options, material, place, index, kind)
        (place / "verdict.txt").write_text(
            fuzz_verdict.describe(scene, run, problems), errors="backslashreplace"
        )
    shutil.rmtree(log)
    return Outcome(
        index, kind, run.status, round(run.seconds, 3), round(run.megabytes), tuple(problems)
    )


def _figures(outcomes: list[Outcome], options: Options) -> dict[str, Any]:
    kinds = {}
    for kind in KINDS:
        if of_kind := [outcome for outcome in outcomes if outcome.kind == kind]:
            kinds[kind] = _sums(of_kind)
    material = "real" if options.real else "drawn"
    return {**_sums(outcomes), "seed": options.seed, "material": material, "kinds": kinds}


def _sums(outcomes: list[Outcome]) -> dict[str, float]:
    return {
        "inputs": len(outcomes),
        "ok": sum(outcome.status == 0 for outcome in outcomes),
        "refused": sum(outcome.status == 1 for outcome in outcomes),
        "failures": sum(bool(outcome.problems) for outcome in outcomes),
        "slowest_s": max(outcome.seconds for outcome in outcomes),
        "most_mb": max(outcome.megabytes for outcome in outcomes),
    }


def _print_table(console: Console, kinds: dict[str, dict[str, float]]) -> None:
    table = Table(title="svhn_jax.preprocess on damaged and hostile input")
    for column in ("kind", "inputs", "ok", "refused", "failures", "slowest s", "most MB"):
        table.add_column(column, justify="left" if column == "kind" else "right")
    for kind, sums in kinds.items():
        table.add_row(
            kind,
            *(
                f"{value:,.1f}" if name == "slowest_s" else f"{value:,}"
                for name, value in sums.items()
            ),
        )
    console.print(table)


if __name__ == "__main__":
    run_command(main)
