"""Accounts for every record and photo of a source: each is used, or skipped with a reason."""

from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np

from svhn_jax.data.records import Photo, Record, Skipped
from svhn_jax.data.sources.find import Source

SECOND_PHOTO, SECOND_RECORD = "a second photo of that name", "a second record of that name"
NAMES_SHOWN, REASONS_SHOWN = 5, 10


class Account:
    """The usable records of one source, and everything that was skipped so far.

    Attributes:
      name: of the source: train, extra or test.
      records: the usable ones, at most one for each name, in the order of the source.
      rows: row in `records` by name.
      skipped: records and photos, in the order in which they were found.
    """

    def __init__(self, source: Source, limit: int | None = None):
        self.source, self.name = source, source.split
        self.skipped: list[Skipped] = []
        usable: dict[str, Record] = {}
        bad = set()
        for record in source.records():
            if isinstance(record, Skipped):
                self.skipped.append(record)
                bad.add(record.name)
            elif record.name in usable:
                self.skipped.append(Skipped(record.name, SECOND_RECORD))
            else:
                usable[record.name] = record
        self.records = list(usable.values())[:limit]
        self.rows = {record.name: row for row, record in enumerate(self.records)}
        self._passed_over = (bad | usable.keys()) - self.rows.keys()
        self._is_limited = len(self.records) < len(usable)

    def lengths(self) -> np.ndarray:
        """int[N]: the number of digits of each usable record."""
        return np.array([len(record.digits) for record in self.records], int)

    def photos(self) -> Iterator[tuple[Photo, int]]:
        """Yields every photo that can be read and has a record, with its row in `records`.

        The others are skipped: also, after the last photo, records that have none. Photos whose
        record is skipped or beyond the limit are left out.
        """
        missing = dict(self.rows)
        for photo in self.source.photos():
            if photo.name in self._passed_over:
                continue
            row = missing.pop(photo.name, None)
            if row is not None and not photo.problem:
                yield photo, row
            elif row is None and photo.name in self.rows:
                self.skip(photo.name, SECOND_PHOTO)
            else:
                self.skip(photo.name, photo.problem or "no record of that name")
            if self._is_limited and not missing:
                return
        for name in missing:
            self.skip(name, "no such photo")

    def skip(self, name: str, reason: str) -> None:
        """Notes that a photo, or a record without a photo, is skipped."""
        row = self.rows.get(name)
        self.skipped.append(Skipped(name, reason, 0 if row is None else self.records[row].line))


def skipped_lines(skipped: Iterable[Skipped]) -> list[str]:
    """A line for each of the most frequent reasons, with a count and the first names."""
    skipped = list(skipped)
    reasons, lines = Counter(one.reason for one in skipped), []
    for reason, count in reasons.most_common(REASONS_SHOWN):
        names = some_names([str(one) for one in skipped if one.reason == reason])
        lines.append(f"  skipped: {count:,} x {reason}: {names}")
    if len(reasons) > len(lines):
        lines.append(f"  and {len(reasons) - len(lines):,} more reasons")
    return lines


def some_names(names: list[str]) -> str:
    """The first names, and an ellipsis if there are more."""
    return ", ".join(names[:NAMES_SHOWN]) + (", ..." if len(names) > NAMES_SHOWN else "")
