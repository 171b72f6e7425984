"""python benchmarks/data_rehearsal.py --annotations DIR --work DIR: the data pipeline at full size, measured.

Makes archives like the published ones (benchmarks/full_size_archives.py), serves them over loopback through
a server that breaks connections, and runs svhn_jax.download and svhn_jax.preprocess on them as a user would.
Beside them, in the same run: the parse of digitStruct.mat alone, the code that SVHN projects commonly use, and
decoding and cropping alone on all cores, which nothing that decodes with Pillow can beat. Those are measured
on samples and scaled up, split by split. Prints tables, and as the last line all figures as JSON.
"""

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import full_size_archives
import measured
import rehearsal_report
import rehearsal_stages
import tyro
from rehearsal_stages import HERE, SEED, SPLITS, Folders
from rich.console import Console

from svhn_jax.errors import InputError, run_command

BYTES_PER_PHOTO = 60_000  # two copies of the archives, two of digitStruct.mat, the arrays
REPORT_WIDTH = 140  # characters, in a file or a pipe
ALTERNATIVES = {
    "common h5py code": "common-h5py",
    "tarfile and Pillow, one process": "pillow-loop",
    "decode and crop alone, a process to a core": "ceiling",
}

Figures = dict[str, Any]


@dataclass(frozen=True)
class Options:
    """Rehearses download and preprocessing with archives as large as the published ones."""

    annotations: Path
    """folder of the published annotations, as benchmarks/full_size_archives.py wants it"""
    work: Path
    """folder for everything, 15 GB; archives made there are used again"""
    limit: int | None = None
    """the first so many photos of each split; by default all"""
    cuts: int = 12
    """about how often the server breaks the download"""
    sample_photos: int = 3000
    """photos of each split, for the alternatives"""
    sample_records: int = 1000
    """records of each split, for the common h5py code"""
    json: Path | None = None
    """file for the figures"""

    def __post_init__(self) -> None:
        for field in ("limit", "cuts", "sample_photos", "sample_records"):
            value = getattr(self, field)
            if value is not None and value < 1:
                raise InputError(f"--{field.replace('_', '-')} is {value}; it must be at least 1")


def main() -> None:
    options = tyro.cli(Options, prog="python benchmarks/data_rehearsal.py", description=__doc__)
    console = Console(
        highlight=False, markup=False, width=None if sys.stdout.isatty() else REPORT_WIDTH
    )
    machine = rehearsal_report.machine()
    annotations = {
        split: full_size_archives.read_annotations(options.annotations, split, SEED)[
            : options.limit
        ]
        for split in SPLITS
    }
    counts = {split: len(of) for split, of in annotations.items()}
    _require_space(options.work, sum(counts.values()))
    folders = Folders.of(options.annotations, options.work, options.limit)
    stages = rehearsal_stages.run(folders, counts, options.limit, options.cuts, console.print)
    checked = rehearsal_stages.check(folders.arrays, annotations)
    alternatives = _run_alternatives(options, folders, counts, console)
    figures = {
        "photos": counts,
        "stages": stages,
        "alternatives": alternatives,
        "comparisons": _compare(stages, alternatives),
        "checked": checked,
        "machine": machine,
    }
    rehearsal_report.print_figures(console, figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures))


def _require_space(work: Path, count: int) -> None:
    work.mkdir(parents=True, exist_ok=True)
    there = sum(path.stat().st_size for path in work.rglob("*") if path.is_file())
    free, needed = shutil.disk_usage(work).free, count * BYTES_PER_PHOTO
    if free + there < needed:
        raise InputError(
            f"{work}: needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB free there; give another --work"
        )


def _run_alternatives(
    options: Options, folders: Folders, counts: dict[str, int], console: Console
) -> dict[str, Figures]:
    """Each on a sample of every split; the seconds for all photos add up the splits at the rate of their samples."""
    found: dict[str, Figures] = {}
    for name, stage in ALTERNATIVES.items():
        figures: Figures = {"sample": 0, "seconds": 0.0, "seconds_for_all": 0.0}
        for split, count in counts.items():
            mat, archive = (
                rehearsal_stages.extract_mat(folders, split),
                folders.raw / f"{split}.tar.gz",
            )
            of_mat = (mat, str(options.sample_records))
            command = (
                of_mat if stage == "common-h5py" else (archive, mat, str(options.sample_photos))
            )
            result = rehearsal_stages.result(
                measured.run((HERE / "single_stages.py", stage, *command))
            )
            figures["sample"] += int(result["count"])
            figures["seconds"] += result["seconds"]
            figures["seconds_for_all"] += result["seconds"] / result["count"] * count
        figures["per_second"] = sum(counts.values()) / figures["seconds_for_all"]
        found[name] = {key: round(value, 2) for key, value in figures.items()}
        console.print(f"{name}: {figures['per_second']:,.0f} a second")
    return found


def _compare(stages: dict[str, Figures], alternatives: dict[str, Figures]) -> dict[str, float]:
    common, loop, ceiling = (alternatives[name]["seconds_for_all"] for name in ALTERNATIVES)
    preprocess = stages["preprocess"]["seconds"]
    parse = sum(stage["seconds"] for name, stage in stages.items() if name.startswith("parse"))
    return {
        "parse, times as fast as the common h5py code": round(common / parse, 2),
        "preprocess, times as fast as common h5py code and Pillow loop": round(
            (common + loop) / preprocess, 2
        ),
        "preprocess, share of the ceiling": round(ceiling / preprocess, 3),
    }


if __name__ == "__main__":
    run_command(main)
