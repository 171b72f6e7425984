"""The state of an unfinished data set on disk, so that a killed build can be resumed. Beside the arrays it has:

plan.json          what the arrays depend on; of another plan nothing is reused
progress.jsonl     a line for every 2,048 photos: source, photos done so far, those skipped among them
SOURCE.sizes       int32[N, 2], width and height of each record's photo; 0 until its crop is written
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from svhn_jax import files
from svhn_jax.data import writing
from svhn_jax.data.accounting import Account
from svhn_jax.data.arrays import NOT_LOADED
from svhn_jax.data.photos import MAX_PHOTO_SIDE
from svhn_jax.data.records import Skipped

PLAN, PROGRESS = "plan.json", "progress.jsonl"


class Entry(NamedTuple):
    """A line of progress.jsonl: the photos of a source that are done, and those skipped since the line before."""

    source: str
    photos: int
    skipped: list[Skipped]
    is_end: bool = False


class Progress:
    """An unfinished data set: the one that is in `folder`, if it has the same plan and is sound, else a new one.

    Args:
      folder: to build in.
      accounts: of the sources.
      settings: what the arrays depend on.
      counts: rows of each split.

    Raises:
      InputError: too little space is free.
    """

    def __init__(
        self,
        folder: Path,
        accounts: list[Account],
        settings: dict[str, Any],
        counts: dict[str, int],
    ):
        self.folder, self._accounts = folder, accounts
        self.image_files = {split: folder / split / "images.npy" for split in counts}
        size = int(settings["crop"]["size"])
        if not self._is_resumable(settings, counts, size):
            self._start(settings, counts, size)
        self.offsets = {
            split: np.load(path, mmap_mode="r").offset for split, path in self.image_files.items()
        }

    def _start(self, settings: dict[str, Any], counts: dict[str, int], size: int) -> None:
        for path in self.folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        files.check_space(self.folder, sum(counts.values()) * size * size * 3)
        for split, path in self.image_files.items():
            path.parent.mkdir()
            writing.create_images(path, counts[split], size)
        for account in self._accounts:
            with open(self._sizes_path(account), "wb") as file:
                file.truncate(max(1, len(account.records)) * 8)  # an empty file cannot be mapped
        files.write_text(self.folder / PLAN, json.dumps(settings))

    def _is_resumable(self, settings: dict[str, Any], counts: dict[str, int], size: int) -> bool:
        """Whether an earlier run had the same plan, and everything it left is sound."""
        try:
            paths = self.folder.rglob("*")
            if any(
                (not path.is_file() and not path.is_dir()) or path.is_symlink() for path in paths
            ):
                return False
            if json.loads((self.folder / PLAN).read_text()) != settings:
                return False
            self._drop_torn_line()
            for split, path in self.image_files.items():
                images = np.load(path, mmap_mode="r")
                if (
                    images.dtype != np.uint8
                    or len(images) > counts[split]
                    or images.shape[1:] != (size, size, 3)
                ):
                    return False
            for account in self._accounts:
                if self._sizes_path(account).stat().st_size != max(1, len(account.records)) * 8:
                    return False
                sizes = np.fromfile(self._sizes_path(account), np.int32).reshape(-1, 2)
                if (
                    sizes.min() < 0
                    or sizes.max() > MAX_PHOTO_SIDE
                    or ((sizes > 0).sum(axis=1) == 1).any()
                ):
                    return False
            names = {account.name for account in self._accounts}
            return all(_is_entry(line) and line["source"] in names for line in self._lines())
        except (OSError, *NOT_LOADED):
            return False

    def _sizes_path(self, account: Account) -> Path:
        return self.folder / f"{account.name}.sizes"

    def sizes(self, account: Account) -> np.memmap:
        """int32[max(1, N), 2], on disk: width and height of the photo of each of N records; 0 until it is cropped."""
        shape = (max(1, len(account.records)), 2)
        return np.memmap(self._sizes_path(account), np.int32, "r+", shape=shape)

    def entries(self, account: Account) -> list[Entry]:
        """What was committed for a source."""
        lines = [line for line in self._lines() if line["source"] == account.name]
        return [
            Entry(**line | {"skipped": [Skipped(*one) for one in line["skipped"]]})
            for line in lines
        ]

    def _lines(self) -> list[Any]:
        path = self.folder / PROGRESS
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def _drop_torn_line(self) -> None:
        """A full disk or a kill may leave half a line at the end; the next line must not be appended to it."""
        path = self.folder / PROGRESS
        if path.exists():
            os.truncate(path, path.read_bytes().rfind(b"\n") + 1)

    @contextmanager
    def commits(self, sizes: np.memmap) -> Iterator[Callable[[Entry], None]]:
        """Yields a function that commits an entry in a thread, because syncing takes as long as cropping.

        Each call waits for the commit before it, the end of the block for the last one; both raise its error.
        """
        last: list[Future[None]] = []
        with ThreadPoolExecutor(1) as thread:

            def commit(entry: Entry) -> None:
                wait()
                last.append(thread.submit(_commit, self, sizes, entry))

            def wait() -> None:
                if last:
                    last.pop().result()

            yield commit
            wait()

    def delete(self) -> None:
        """Deletes everything but the data set; plan.json first, so that leftovers are never resumed."""
        paths = (self.folder / PLAN, self.folder / PROGRESS, *map(self._sizes_path, self._accounts))
        for path in paths:
            path.unlink(missing_ok=True)


def _commit(progress: Progress, sizes: np.memmap, entry: Entry) -> None:
    """Appends the entry once the crops and sizes that it counts are on the disk."""
    for path in progress.image_files.values():
        files.sync(path)
    sizes.flush()
    path = progress.folder / PROGRESS
    with open(path, "a") as file:
        file.write(json.dumps(entry._asdict()) + "\n")
    files.sync(path)


def _is_entry(line: Any) -> bool:
    """Whether a line of progress.jsonl has the fields of an Entry."""
    if not isinstance(line, dict) or line.keys() != {*Entry._fields}:
        return False
    is_list = isinstance(line["skipped"], list) and all(
        isinstance(one, list) and [type(value) for value in one] == [str, str, int]
        for one in line["skipped"]
    )
    is_counted = (
        type(line["photos"]) is int and line["photos"] >= 0 and type(line["is_end"]) is bool
    )
    return is_list and is_counted and isinstance(line["source"], str)
