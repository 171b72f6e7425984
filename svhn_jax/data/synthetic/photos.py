"""Writes synthetic photos as a person's own: N.png, and labels.csv with the box of each number."""

import csv
from collections.abc import Callable
from functools import partial
from pathlib import Path

from svhn_jax.data import crop
from svhn_jax.data.sources import labels_csv
from svhn_jax.data.synthetic import render
from svhn_jax.data.workers import Workers

Rows = list[tuple[str | float, ...]]


def write(
    folder: Path,
    split: str,
    count: int,
    *,
    seed: int,
    max_digits: int,
    workers: Workers,
    advance: Callable[[int], object],
) -> None:
    """Writes the photos of a split into a new folder; calls `advance` with counts of photos."""
    folder.mkdir(parents=True)
    work = partial(_save, folder, split, seed, max_digits)
    with open(folder / labels_csv.NAME, "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(labels_csv.COLUMNS)
        for rows in workers.in_order(work, render.blocks(count)):
            table.writerows(rows)
            advance(len(rows))


def _save(folder: Path, split: str, seed: int, max_digits: int, numbers: range) -> Rows:
    """Saves the photos of these numbers; returns their rows of labels.csv."""
    rows: Rows = []
    for number in numbers:
        photo, digits, boxes = render.render(
            render.photo_rng(seed, split, number), split, max_digits
        )
        photo.save(folder / f"{number}.png", compress_level=1)
        box = (crop.union(boxes) or crop.Box(0, 0, *photo.size)).left_top_width_height()
        rows.append((f"{number}.png", "".join(map(str, digits)), *box))
    return rows
