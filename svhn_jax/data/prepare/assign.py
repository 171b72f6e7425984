"""Chooses the validation split from the records alone, before any photo is read."""

from collections.abc import Mapping

import numpy as np

from svhn_jax.data.sources.find import SOURCE_SPLITS


def choose_validation(
    lengths: Mapping[str, np.ndarray], fraction: float, seed: int, max_digits: int
) -> dict[str, np.ndarray]:
    """Chooses the numbers of train and extra that are held out for validation.

    For each length 1 to max_digits it draws the given share, rounded down, by (seed, source,
    length). 5 % of train and extra are 11,782 numbers, as in the seed project. If that share is
    less than one number of every length, one number of the most frequent length is held out, if
    there are at least two numbers.

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
