"""python -m svhn_jax.evaluate_finder: how well numbers are found and read in whole photos, without a box.

--raw DIR --split validation|test: photos of SVHN Format 1. --photos DIR: a folder with labels.csv, with boxes or without.
Each is read without its box, and, where a box is known, with it. --widths 0.02 0.1 pastes each photo into a synthetic scene of
12 million pixels, its number as wide as that share of the scene; --backgrounds DIR: into the pictures of a folder. --empty
DIR: pictures without a number; it counts in how many none is found. --empty-scenes N: in N synthetic scenes.
"""

from svhn_jax import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()  # the imports below take time

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from PIL import Image

from svhn_jax import command_line, output
from svhn_jax.checked import Checked, Rule, at_least
from svhn_jax.data import photos as photo_files
from svhn_jax.data.accounting import skipped_lines
from svhn_jax.data.crop import Box, union
from svhn_jax.data.records import Record, Skipped
from svhn_jax.data.sources import labels_csv
from svhn_jax.data.sources.find import find_source
from svhn_jax.errors import InputError, run_command
from svhn_jax.options import OptionalInt, OptionalPath, OptionalStr, OutputOptions
from svhn_jax.output import Output

if TYPE_CHECKING:  # it imports JAX, which takes seconds
    from svhn_jax.finding.material import Example

Records = list[Record | Skipped]
Shares = Annotated[
    tuple[float, ...], Rule(lambda shares: all(0 < one < 1 for one in shares), "between 0 and 1")
]
PASTED_SEED = 2_000_000  # of the scenes that photos are pasted into


@dataclass(frozen=True)
class Options(Checked):
    """How well numbers are found and read in whole photos."""

    raw: OptionalPath = None
    """folder with train.tar.gz or test.tar.gz of SVHN Format 1"""
    split: Literal["validation", "test"] = "validation"
    """of --raw: the part of train that svhn_jax.train_finder holds out, or test"""
    photos: OptionalPath = None
    """folder of photos with labels.csv"""
    limit: Annotated[OptionalInt, at_least(1)] = None
    """read only the first photos"""
    widths: Shares = ()
    """paste each photo into a scene, its number this share of the scene's width; for each share in turn"""
    backgrounds: OptionalPath = None
    """with --widths: folder of pictures without a number to paste into, enlarged to 12 million pixels"""
    empty: OptionalPath = None
    """folder of pictures without a number"""
    empty_scenes: Annotated[int, at_least(0)] = 0
    """number of synthetic scenes without a number"""
    finder: OptionalPath = None
    """folder of the finder (default: the one that comes with the project)"""
    run: OptionalStr = None
    """folder of the run that reads (default: svhn_jax/weights/reader)"""
    tta: bool = False
    """read with test-time augmentation"""
    output: OutputOptions = field(default_factory=Output)


def main() -> int:
    options = command_line.parse(Options, "python -m svhn_jax.evaluate_finder", __doc__ or "")
    console = output.console(options.output)
    result: dict[str, Any] = {}
    if not (options.raw or options.photos or options.empty or options.empty_scenes):
        raise InputError("nothing to read; give --raw, --photos, --empty or --empty-scenes")
    if options.raw and options.photos:
        raise InputError("--raw and --photos are two sets of photos; give one of them")
    records = _records(options.photos) if options.photos else []
    if skipped := [record for record in records if isinstance(record, Skipped)]:
        for line in skipped_lines(skipped):
            console.print(line, soft_wrap=True)
        result["skipped"] = len(skipped)
    from svhn_jax.inference import find_scores  # imports JAX, which takes seconds: not for --help
    from svhn_jax.inference.finder import Finder
    from svhn_jax.inference.photo_reader import PhotoReader
    from svhn_jax.training import compilation

    compilation.enable_compilation_cache()
    finder = Finder(options.finder)
    if options.raw or options.photos:
        watched = find_scores.Watched(finder)
        reader = PhotoReader(options.run, finder=watched, tta=options.tta)
        for share in options.widths or (None,):
            counts = find_scores.tally(reader, watched, _examples(options, records, share))
            name = "photos" if share is None else f"width {share:g}"
            console.print(f"{name}: {counts}", soft_wrap=True)
            result[name] = counts.as_json()
    pictures: dict[str, Iterator[Image.Image]] = {
        "empty scenes": find_scores.empties(options.empty_scenes)
    }
    if options.empty:
        pictures["empty"] = map(_decoded, _pictures(options.empty))
    for name, empty in pictures.items():
        scores = find_scores.best_scores(finder, empty)
        if len(scores):
            none = int((scores < finder.least_score).sum())
            console.print(f"{name}: none found in {none:,} of {len(scores):,}", soft_wrap=True)
            result[name] = {"photos": len(scores), "none": none, "none_share": none / len(scores)}
    output.print_json(options.output, result)
    return 0


def _examples(options: Options, records: Records, share: float | None) -> "Iterator[Example]":
    """The photos to read; with a share, each pasted into a scene of its own."""
    from svhn_jax.finding import large_scenes

    backgrounds = _pictures(options.backgrounds) if options.backgrounds else []
    for number, example in enumerate(_plain_examples(options, records)):
        if number == options.limit:
            return
        if share is None:
            yield example
            continue
        rng = np.random.default_rng([PASTED_SEED, number])
        if backgrounds:
            scene = large_scenes.covering(
                _decoded(backgrounds[int(rng.integers(len(backgrounds)))])
            )
        else:
            scene = large_scenes.empty(rng)
        yield large_scenes.pasted(rng, scene, example, share)


def _plain_examples(options: Options, records: Records) -> "Iterator[Example]":
    from svhn_jax.finding import material

    if options.photos:
        yield from _labelled(options.photos, records)
    elif options.raw and options.split == "test":
        yield from material.examples(find_source(options.raw, "test"))
    elif options.raw:
        yield from material.validation(options.raw)


def _records(folder: Path) -> Records:
    """The rows of the labels.csv of a folder."""
    table = folder / labels_csv.NAME
    if not table.is_file():
        raise InputError(
            f"{table}: no such file; write file,label in its first line, and a photo in each row"
        )
    return labels_csv.read(table)


def _labelled(folder: Path, records: Records) -> "Iterator[Example]":
    """The photos of a labels.csv; the box of one without a box is the whole photo."""
    from svhn_jax.finding.material import Example

    for record in records:
        if isinstance(record, Record):
            photo = _decoded(folder / record.name)
            box = union(record.boxes) or Box(0, 0, *photo.size)
            yield Example(record.name, photo, box, "".join(map(str, record.digits)))


def _pictures(folder: Path) -> list[Path]:
    """The pictures of a folder, in the order of their names."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give a folder of pictures")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in photo_files.SUFFIXES)
    if not paths:
        raise InputError(f"{folder}: no pictures in it")
    return paths


def _decoded(path: Path) -> Image.Image:
    try:
        return photo_files.decode_photo(photo_files.read_file(path))
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None


if __name__ == "__main__":
    interrupts.raise_interrupts()
    run_command(main)
