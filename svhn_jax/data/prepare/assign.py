"""Decides from the records alone, before any photo is read, which record goes to which split and row."""

from collections import Counter
from collections.abc import Container, Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from svhn_jax.data.accounting import Account
from svhn_jax.data.arrays import SPLITS
from svhn_jax.data.sources.find import SOURCE_SPLITS, Source


class Places(NamedTuple):
    """Where the N numbers of a source go: int[N], index in arrays.SPLITS; int[N], row in that split."""

    splits: np.ndarray
    rows: np.ndarray


class Part(NamedTuple):
    """One source, and where each of its usable records goes."""

    account: Account
    places: Places


def plan(
    sources: Iterable[Source],
    *,
    validation_fraction: float,
    seed: int,
    limit: int | None,
    max_digits: int,
    not_held_out: Mapping[str, Container[str]] = MappingProxyType({}),
) -> list[Part]:
    """Gives every usable record its split and row: train and extra go to train and validation, test goes to test.

    Args:
      sources: their records are read here.
      validation_fraction: share of train and of extra, for each length 1 to max_digits, that is held out.
      seed: of the choice of the validation split.
      limit: the most records of each source; None for all.
      max_digits: of the labels.
      not_held_out: names of photos, by the name of their source, that must not go to validation.
    """
    accounts = [Account(source, limit) for source in sources]
    lengths = {}
    for account in accounts:
        excluded = not_held_out.get(account.name, ())
        digits = [0 if one.name in excluded else len(one.digits) for one in account.records]
        lengths[account.name] = np.array(digits, int)  # length 0 is never held out
    places = place(lengths, validation_fraction, seed, max_digits)
    return [Part(account, places[account.name]) for account in accounts]


def place(
    lengths: dict[str, np.ndarray], validation_fraction: float, seed: int, max_digits: int
) -> dict[str, Places]:
    """The splits and rows of all numbers, by the name of their source; arguments as for `choose_validation`."""
    filled = np.zeros(len(SPLITS), int)
    places = {}
    for source, is_held_out in choose_validation(
        lengths, validation_fraction, seed, max_digits
    ).items():
        others = SPLITS.index("test" if source == "test" else "train")
        splits = np.where(is_held_out, SPLITS.index("validation"), others)
        rows = np.zeros(len(splits), int)
        for split in range(len(SPLITS)):
            chosen = np.flatnonzero(splits == split)
            rows[chosen] = filled[split] + np.arange(len(chosen))
            filled[split] += len(chosen)
        places[source] = Places(splits, rows)
    return places


def rows_of_splits(places: Mapping[str, Places]) -> dict[str, int]:
    """The number of rows of each split that the sources go to, also of the empty ones."""
    counts = Counter(SPLITS[split] for one in places.values() for split in one.splits.tolist())
    wanted = {"test"} & places.keys() | (
        {"train", "validation"} if places.keys() - {"test"} else set()
    )
    return {split: counts[split] for split in SPLITS if split in wanted}


def choose_validation(
    lengths: dict[str, np.ndarray], fraction: float, seed: int, max_digits: int
) -> dict[str, np.ndarray]:
    """Chooses the numbers of train and extra that are held out for validation.

    For each length 1 to max_digits it draws the given share, rounded down, by (seed, source, length). 5 % of train and extra
    are 11,782 numbers, as in the seed project. If that share is less than one number of every length, one number of
    the most frequent length is held out, provided that there are at least two numbers.

    Args:
      lengths: int[N], the number of digits of each number, by the name of the source.
      fraction: 0 holds out none.
      seed: of the draw.
      max_digits: longer numbers are never held out.

    Returns:
      bool[N] by the name of the source.
    """
    chosen = {source: np.zeros(len(counts), bool) for source, counts in lengths.items()}
    orders = {}  # rows of each source and length, in the order in which they are held out
    for source in lengths.keys() & {"train", "extra"}:
        for length in range(1, max_digits + 1):
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
