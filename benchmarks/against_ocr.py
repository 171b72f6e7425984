"""python benchmarks/against_ocr.py --search PHOTOS: our reader and general OCR, no box given.

PHOTOS is a folder with labels.csv (file,label and optionally layout), or with the archives of
SVHN, whose --split is read. The peer is PP-OCRv4 (pip install -e '.[ocr]') with its defaults; its
answer is the text of digits that it scores highest. Both get the same upright photos.
"""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from PIL import Image
from rich.table import Table

import svhn_jax
from svhn_jax import cli
from svhn_jax.checked import Checked, at_least
from svhn_jax.errors import InputError
from svhn_jax.inference import photo_scores
from svhn_jax.output import Terminal


@dataclass(frozen=True)
class Options(Checked):
    """Reads labelled photos with both."""

    search: Path
    """the folder of photos"""
    split: Literal["validation", "test"] = "test"
    """of the archives of SVHN"""
    limit: Annotated[int | None, at_least(1)] = None
    """read the first photos only"""
    run: str | None = None
    """the run's folder; default: the shipped weights"""
    tta: bool = False
    """test-time augmentation of our reader"""


def main(options: Options, terminal: Terminal) -> None:
    try:
        from rapidocr_onnxruntime import RapidOCR
    except ImportError:
        raise InputError("PP-OCR is not installed: pip install -e '.[ocr]'") from None
    reader, engine = svhn_jax.load(options.run, tta=options.tta), RapidOCR()

    def ours(photo: Image.Image) -> tuple[str, float]:
        reading = reader.read(photo)
        return reading.number, reading.confidence

    def peer(photo: Image.Image) -> tuple[str, float]:
        """The best text of digits alone, of rows (box, text, score); spaces do not count."""
        found, _ = engine(np.asarray(photo)[..., ::-1])  # it expects BGR
        texts = [(float(score), text.replace(" ", "")) for _, text, score in found or ()]
        return max((one for one in texts if one[1].isdecimal()), default=(0.0, ""))[::-1]

    each = list(islice(photo_scores.photos_of(options.search, options.split), options.limit))
    figures, readings = {}, {}
    for name, read in (("svhn_jax", ours), ("PP-OCRv4", peer)):
        read(each[0].photo)  # compiles; not timed
        measured = photo_scores.measure(read, each)
        figures[name] = photo_scores.summary(measured)
        readings[name] = {one.name: one.reading for one in measured}
    table = Table("", "right", "95 % interval", "by layout", "ms a photo", title="no box given")
    for name, one in figures.items():
        layouts = ", ".join(
            f"{kind or 'all'} {a} of {b}" for kind, (a, b) in one["by_layout"].items()
        )
        right, interval = (
            f"{one['right']} of {one['photos']}",
            f"{one['low']:.2f} to {one['high']:.2f}",
        )
        table.add_row(name, right, interval, layouts, f"{one['ms']:.0f}")
    terminal.print(table)
    labels = {one.name: one.number for one in each}
    terminal.result({"figures": figures, "labels": labels, "readings": readings})


if __name__ == "__main__":
    cli.run(Options, main)
