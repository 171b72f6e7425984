"""python benchmarks/against_ocr.py --folder FOLDER: our reader and general OCR, no box given.

FOLDER holds photos and a labels.csv with the columns file and label; a column layout is reported
by value. The peer is PP-OCRv4 (pip install rapidocr-onnxruntime), default settings. Its answer is
the text of digits that it scores highest. Both read the same upright pixels, in turn. --json
prints one line of JSON, with every reading.
"""

import csv
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from rich.table import Table

import svhn_jax
from svhn_jax import cli
from svhn_jax.checked import Checked
from svhn_jax.errors import InputError
from svhn_jax.inference.scores import wilson_interval
from svhn_jax.output import Terminal

Read = Callable[[np.ndarray], str]


@dataclass(frozen=True)
class Options(Checked):
    """Reads labelled photos with both."""

    folder: Path
    """the folder of photos, with its labels.csv"""
    run: cli.OptionalStr = None
    """the run's folder; default: the shipped weights"""
    tta: bool = False
    """test-time augmentation of our reader"""


def main(options: Options, terminal: Terminal) -> None:
    try:
        from rapidocr_onnxruntime import RapidOCR
    except ImportError:
        raise InputError("no PP-OCR here: pip install rapidocr-onnxruntime") from None
    with open(options.folder / "labels.csv", newline="", encoding="utf-8-sig") as lines:
        rows = list(csv.DictReader(lines))
    reader, engine = svhn_jax.load(options.run, tta=options.tta), RapidOCR()
    sides: dict[str, Read] = {
        "svhn_jax": lambda pixels: reader.read(pixels).number,
        "PP-OCRv4": lambda pixels: best_digits(engine(pixels[..., ::-1])[0]),  # it expects BGR
    }
    readings: dict[str, list[str]] = {name: [] for name in sides}
    taken_ms: dict[str, list[float]] = {name: [] for name in sides}
    for read in sides.values():
        read(_pixels(options.folder / rows[0]["file"]))  # compiles; not timed
    with terminal.progress("reading", len(rows), "photos") as advance:
        for row in rows:
            pixels = _pixels(options.folder / row["file"])
            for name, read in sides.items():
                start = time.perf_counter()
                readings[name].append(read(pixels))
                taken_ms[name].append(1e3 * (time.perf_counter() - start))
            advance(1)
    figures = {
        name: {"all": score(rows, readings[name]), "ms_a_photo": median(taken_ms[name])}
        | {f"layout {one}": score(rows, readings[name], one) for one in _layouts(rows)}
        for name in sides
    }
    _print_table(terminal, figures)
    each = {
        row["file"]: {"label": row["label"]} | {name: readings[name][n] for name in sides}
        for n, row in enumerate(rows)
    }
    terminal.result({"folder": str(options.folder), "figures": figures, "readings": each})


def best_digits(found: list[Any] | None) -> str:
    """The best scored text of digits alone, of rows (box, text, score); spaces do not count."""
    texts = [(float(score), text.replace(" ", "")) for _, text, score in found or ()]
    return max(((p, text) for p, text in texts if text.isdecimal()), default=(0.0, ""))[1]


def score(rows: list[dict[str, str]], readings: list[str], layout: str = "") -> dict[str, float]:
    """Whole numbers right, their share and its 95 % interval; of one layout, or of all photos."""
    right = [
        row["label"] == reading
        for row, reading in zip(rows, readings, strict=True)
        if layout in ("", row.get("layout"))
    ]
    share, low, high = wilson_interval(sum(right), len(right))
    return {"right": sum(right), "photos": len(right), "share": share, "low": low, "high": high}


def _layouts(rows: list[dict[str, str]]) -> list[str]:
    return sorted({row["layout"] for row in rows if row.get("layout")})


def _pixels(path: Path) -> np.ndarray:
    """The upright photo, uint8[H, W, 3]."""
    with Image.open(path) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def _print_table(terminal: Terminal, figures: dict[str, dict[str, Any]]) -> None:
    table = Table("", *figures, title="whole numbers right, no box given (95 % interval)")
    for group in next(iter(figures.values())):
        cells = []
        for side in figures.values():
            one = side[group]
            cells.append(
                f"{one:.0f}"
                if isinstance(one, float)
                else f"{one['right']} of {one['photos']} ({one['low']:.2f} to {one['high']:.2f})"
            )
        table.add_row(group, *cells)
    terminal.print(table)


if __name__ == "__main__":
    cli.run(Options, main)
