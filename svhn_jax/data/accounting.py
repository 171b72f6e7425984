"""Accounts for every record and photo of a source: each is used, or skipped with a reason."""

from collections import Counter
from collections.abc import Iterable, Iterator

from svhn_jax import output
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
      positions: of each usable record among all records of the source.
      unusable: the other records by position.
      skipped: records and photos, in the order in which they were found.
    """

    def __init__(self, source: Source, limit: int | None = None):
        self.source, self.name = source, source.split
        self.skipped: list[Skipped] = []
        self.unusable: dict[int, Record | Skipped] = {}
        usable: dict[str, tuple[int, Record]] = {}
        for position, record in enumerate(source.records()):
            if isinstance(record, Record) and record.name not in usable:
                usable[record.name] = (position, record)
                continue
            self.unusable[position] = record
            self.skipped.append(
                record if isinstance(record, Skipped) else Skipped(record.name, SECOND_RECORD)
            )
        chosen = list(usable.values())[:limit]
        self.positions = [position for position, _ in chosen]
        self.records = [record for _, record in chosen]
        self.rows = {record.name: row for row, record in enumerate(self.records)}
        bad = {record.name for record in self.unusable.values()} - usable.keys()
        self._passed_over = bad | (usable.keys() - self.rows.keys())
        self._is_limited = len(chosen) < len(usable)
        self._seen: set[str] = set()

    def photos(self, start: int = 0) -> Iterator[tuple[Photo, str]]:
        """Yields every photo after the first `start`, and why it cannot be used; "" if it can.

        Photos whose record is skipped, or beyond the limit, are left out. Shows a progress bar on a terminal.
        """
        missing = self.rows.keys() - self._seen
        shown = output.track(
            self.source.photos(), f"{self.name}: photos", len(self.records), "photos"
        )
        photos = (photo for photo in shown if photo.name not in self._passed_over)
        for index, photo in enumerate(photos):
            if index >= start:
                yield photo, self._refusal(photo)
            self._seen.add(photo.name)
            missing.discard(photo.name)
            if self._is_limited and not missing:
                return

    def _refusal(self, photo: Photo) -> str:
        if photo.name in self._seen:
            return SECOND_PHOTO
        if photo.problem:
            return photo.problem
        return "" if photo.name in self.rows else "no record of that name"

    def skip(self, name: str, reason: str) -> None:
        """Notes that a photo, or a record without a photo, is skipped."""
        row = self.rows.get(name)
        self.skipped.append(Skipped(name, reason, 0 if row is None else self.records[row].line))

    def skip_missing(self) -> None:
        """Call after the last photo: notes the records that have none."""
        for name in self.rows:
            if name not in self._seen:
                self.skip(name, "no such photo")


def skipped_lines(skipped: Iterable[Skipped], *, rest_in: str = "") -> list[str]:
    """A line for each reason, the most frequent first: how many were skipped for it, and the names of the first ones.

    rest_in: a file that has the others; then only the first REASONS_SHOWN reasons are shown.
    """
    skipped = list(skipped)
    reasons = Counter(one.reason for one in skipped)
    lines = []
    for reason, count in reasons.most_common(REASONS_SHOWN if rest_in else None):
        names = some_names([str(one) for one in skipped if one.reason == reason])
        lines.append(f"  skipped: {count:,} x {reason}: {names}")
    if len(reasons) > len(lines):
        lines.append(f"  and {len(reasons) - len(lines):,} more reasons, in {rest_in}")
    return lines


def some_names(names: list[str]) -> str:
    """The first names, and an ellipsis if there are more."""
    return ", ".join(names[:NAMES_SHOWN]) + (", ..." if len(names) > NAMES_SHOWN else "")
