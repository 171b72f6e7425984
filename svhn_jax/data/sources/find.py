"""Finds the source of a split: an archive, a folder, or your own photos."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from svhn_jax.data.photos import MAT_NAME, OTHER_FILES, PHOTO_NAME, SUFFIXES, read_photo, stamp
from svhn_jax.data.records import Photo, Record, Skipped
from svhn_jax.data.sources import archive, digit_struct, labels_csv
from svhn_jax.data.sources.archive import Archive
from svhn_jax.errors import InputError, printable

SOURCE_SPLITS = ("train", "extra", "test")


class Source(Protocol):
    """The photos and records of one split."""

    split: str
    path: Path

    def stamp(self) -> str:
        """A hash of the names, sizes and times of the files."""

    def records(self) -> list[Record | Skipped]:
        """Every record, in the order of the source."""

    def photos(self) -> Iterator[Photo]:
        """Every photo, in the order of storage."""


def find_source(raw: Path, split: str) -> Source:
    """The source of one split: SPLIT.tar.gz, else SPLIT/ with digitStruct.mat or labels.csv.

        source = find_source(Path("data/raw"), "train")
        first = source.records()[0]

    Raises:
      InputError: neither exists.
    """
    if found := _find(raw, split):
        return found
    raise InputError(
        f"{raw}: holds neither {split}.tar.gz nor {split}/; give the folder with the archives"
    )


def _find(raw: Path, split: str) -> Source | None:
    for suffix in archive.SUFFIXES:
        if (raw / f"{split}{suffix}").is_file():
            return Archive(raw / f"{split}{suffix}", split)
    if (raw / split / labels_csv.NAME).is_file():
        return LabelledFolder(raw / split, split)
    return Folder(raw / split, split) if (raw / split).is_dir() else None


def find_all(raw: Path, splits: Sequence[str] = ()) -> list[Source]:
    """The sources of the given splits, by default of all, in the order of SOURCE_SPLITS.

    Raises:
      InputError: a split does not exist, or the folder has none.
    """
    if not raw.is_dir():
        raise InputError(f"{raw}: {'not a' if raw.exists() else 'no such'} folder")
    there = [source for split in SOURCE_SPLITS if (source := _find(raw, split))]
    if (raw / labels_csv.NAME).is_file() and set(splits) <= {"train"}:
        tables = (MAT_NAME, labels_csv.NAME)
        for path in (source.path for source in there):
            if path.is_file() or any((path / name).is_file() for name in tables):
                raise InputError(
                    f"{raw}: holds {labels_csv.NAME} and also {path.name}; "
                    "move one of them to another folder, or give --splits"
                )
        return [LabelledFolder(raw, "train")]
    if splits:
        return [find_source(raw, name) for name in SOURCE_SPLITS if name in splits]
    if not there:
        raise InputError(f"{raw}: {_remedy(raw)}")
    return there


def _remedy(raw: Path) -> str:
    """What to give in place of a folder that holds no split."""
    if (raw / MAT_NAME).is_file():
        folder = raw.resolve()
        if folder.name in SOURCE_SPLITS:
            return f"is the folder of one split; give --raw {folder.parent} --splits {folder.name}"
        return (
            "is the folder of one split; name it train, test or extra, and give the folder it is in"
        )
    for split in SOURCE_SPLITS:
        if found := next(raw.glob(f"{split}.*"), None):
            return f"{found.name} is not read; unpack it, so that {split}/ holds {MAT_NAME}"
    return (
        f"none of train, test, extra in it, as NAME.tar.gz or NAME/, and no {labels_csv.NAME}; "
        "python -m svhn_jax.download downloads the published ones, "
        "python -m svhn_jax.synthesize makes synthetic ones"
    )


class Folder:
    """An extracted folder SPLIT/ with N.png and digitStruct.mat."""

    def __init__(self, path: Path, split: str):
        self.path, self.split = path, split

    def stamp(self) -> str:
        return stamp(path for path in self._files() if path.is_file())

    def records(self) -> list[Record | Skipped]:
        """Every record of digitStruct.mat."""
        return digit_struct.read(self.path / MAT_NAME)

    def photos(self) -> Iterator[Photo]:
        for path in self._files():
            if path.name in OTHER_FILES or path.is_dir():
                continue
            if PHOTO_NAME.fullmatch(path.name):
                yield read_photo(self.path, path.name)
            else:
                yield Photo(printable(path.name), b"", "not the name of a photo")

    def _files(self) -> list[Path]:
        with os.scandir(self.path) as entries:
            return sorted(Path(entry.path) for entry in entries)


class LabelledFolder:
    """Your own photos, with labels and optional boxes in labels.csv."""

    def __init__(self, path: Path, split: str):
        self.path, self.split = path, split
        self._table = path / labels_csv.NAME

    def stamp(self) -> str:
        photos = (self.path / record.name for record in self._usable())
        return stamp([self._table, *(path for path in photos if path.is_file())])

    def records(self) -> list[Record | Skipped]:
        """Every row with its line number, also those that cannot be used."""
        return labels_csv.read(self._table)

    def _usable(self) -> list[Record]:
        return [record for record in self.records() if isinstance(record, Record)]

    def photos(self) -> Iterator[Photo]:
        """The photos that labels.csv names, in its order, then the other photos."""
        names = [record.name for record in self._usable()]
        for name in names:
            yield read_photo(self.path, name)
        there = (path for path in self.path.rglob("*") if path.suffix.lower() in SUFFIXES)
        for name in sorted({str(path.relative_to(self.path)) for path in there} - set(names)):
            yield Photo(printable(name), b"", "no row in labels.csv")
