"""Which record of which source goes where: decided from the records alone, before any photo is read."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from svhn_jax import labels
from svhn_jax.data import arrays
from svhn_jax.data.records import BadRecord, Photo, Record, Skipped
from svhn_jax.data.sources.find import SOURCE_SPLITS, Source


@dataclass
class Part:
    """One source and where each of its usable records goes."""

    source: Source
    records: list[Record]
    rows_by_name: dict[str, int]
    splits: np.ndarray
    """int[N]: index in arrays.SPLITS"""
    rows: np.ndarray
    """int[N]: row in that split"""
    skipped: list[Skipped]
    """records that are skipped before any photo is read"""
    passed_over: set[str]
    """photos to leave alone: their record is skipped already, or beyond the limit"""
    is_limited: bool
    """not all usable records of the source are here"""

    def skip(self, name: str, reason: str) -> Skipped:
        """A photo that is skipped, or a record without one, with the record's line in labels.csv."""
        row = self.rows_by_name.get(name)
        return Skipped(name, reason, 0 if row is None else self.records[row].line)

    def refusal(self, photo: Photo, seen: Container[str]) -> str:
        """Why a photo is not used, `seen` being those that went before it; "" if it is."""
        if photo.name in seen:
            return "a second photo of that name"
        if photo.problem:
            return photo.problem
        return "" if photo.name in self.rows_by_name else "no record of that name"


def plan(
    sources: Iterable[Source],
    *,
    validation_fraction: float,
    seed: int,
    limit: int | None,
    not_held_out: Mapping[str, Container[str]] = MappingProxyType({}),
) -> list[Part]:
    """Gives every record of the sources its split and row: train and extra to train and validation, test to test.

    Args:
      validation_fraction: share of train and of extra, for each length 1 to 5, that is held out.
      limit: at most so many records of each source; None for all.
      not_held_out: names of photos, by the name of their source, that must not go to validation.
    """
    counts = np.zeros(len(arrays.SPLITS), int)
    parts: list[Part] = []
    for source in sources:
        part = _usable_records(source, limit)
        parts.append(part)
    lengths = {}
    for part in parts:
        excluded = not_held_out.get(part.source.split, ())
        digits = [0 if one.name in excluded else len(one.digits) for one in part.records]  # length 0 is never held out
        lengths[part.source.split] = np.array(digits, int)
    held_out = choose_validation(lengths, validation_fraction, seed)
    for part in parts:
        if part.source.split == "test":
            part.splits[:] = arrays.SPLITS.index("test")
        else:
            part.splits[held_out[part.source.split]] = arrays.SPLITS.index("validation")
        for split in range(len(arrays.SPLITS)):
            rows = np.flatnonzero(part.splits == split)
            part.rows[rows] = counts[split] + np.arange(len(rows))
            counts[split] += len(rows)
    return parts


def _usable_records(source: Source, limit: int | None) -> Part:
    records: dict[str, Record] = {}
    skipped: list[Skipped] = []
    bad: set[str] = set()
    for record in source.records():
        if isinstance(record, BadRecord):
            skipped.append(Skipped(*record))
            bad.add(record.name)
        elif record.name in records:
            skipped.append(Skipped(record.name, "a second record of that name"))
        else:
            records[record.name] = record
    chosen = list(records.values())[:limit]
    names = {record.name: row for row, record in enumerate(chosen)}
    passed_over = (bad - records.keys()) | (records.keys() - names.keys())
    rows = np.zeros((2, len(chosen)), int)
    return Part(source, chosen, names, rows[0], rows[1], skipped, passed_over, len(chosen) < len(records))


def choose_validation(lengths: dict[str, np.ndarray], fraction: float, seed: int) -> dict[str, np.ndarray]:
    """Which numbers of train and extra are held out for validation.

    Of each length 1 to 5 the given share, rounded down, drawn by (seed, source, length). At 5 % of train and extra
    this holds out 11,782 numbers, as the seed project did. Where that leaves validation empty, it gets one number, if
    there are two: one of the most frequent length.

    Args:
      lengths: int[N], the number of digits of each number, by the name of the source.
      fraction: 0 holds out none.

    Returns:
      bool[N] by the name of the source.
    """
    chosen = {source: np.zeros(len(counts), bool) for source, counts in lengths.items()}
    orders = {}  # rows of each source and length, in the order in which they are held out
    for source in lengths.keys() & {"train", "extra"}:
        for length in range(1, labels.MAX_DIGITS + 1):
            rows = np.flatnonzero(lengths[source] == length)
            rng = np.random.default_rng([seed, SOURCE_SPLITS.index(source), length])
            orders[source, length] = rng.permutation(rows)
            share = int(len(rows) * fraction + 1e-9)  # 100 x 0.29 is 28.999...
            chosen[source][orders[source, length][:share]] = True
    numbers = sum(len(lengths[source]) for source in {source for source, _ in orders})
    if fraction and numbers > 1 and not any(rows.any() for rows in chosen.values()):
        (source, _), rows = max(sorted(orders.items()), key=lambda item: len(item[1]))
        chosen[source][rows[:1]] = True
    return chosen
