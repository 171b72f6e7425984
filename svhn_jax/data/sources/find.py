"""Finds where the photos and records of a split come from: an archive, a folder, or the user's own photos."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from svhn_jax import files
from svhn_jax.data.photos import (
    MAT_NAME,
    MAX_PHOTO_BYTES,
    OTHER_FILES,
    PHOTO_NAME,
    SUFFIXES,
    read_photo,
    stamp,
)
from svhn_jax.data.records import Photo, Record, Skipped
from svhn_jax.data.sources import digit_struct, labels_csv
from svhn_jax.data.sources.archive import MAX_MAT_BYTES, Archive
from svhn_jax.errors import InputError, printable

SOURCE_SPLITS = ("train", "extra", "test")


class Source(Protocol):
    """The photos and records of one split."""

    split: str
    path: Path

    def stamp(self) -> str:
        """A hash of the names, sizes and times of the files: quick, and changes whenever the files do."""

    def fingerprint(self) -> str:
        """SHA-256 of the content."""

    def records(self) -> list[Record | Skipped]:
        """Every record, in the order of the source."""

    def photos(self) -> Iterator[Photo]:
        """Every photo, in the order of storage."""


def find_source(raw: Path, split: str) -> Source:
    """The source of one split: SPLIT.tar.gz if it exists, else the folder SPLIT/ with digitStruct.mat or labels.csv.

        source = find_source(Path("data/raw"), "train")
        first = source.records()[0]

    Raises:
      InputError: neither exists.
    """
    if (raw / f"{split}.tar.gz").is_file():
        return Archive(raw / f"{split}.tar.gz", split)
    if (raw / split / labels_csv.NAME).is_file():
        return LabelledFolder(raw / split, split)
    if (raw / split).is_dir():
        return Folder(raw / split, split)
    raise InputError(
        f"{raw}: holds neither {split}.tar.gz nor {split}/; give the folder with the archives"
    )


def find_all(raw: Path, splits: Sequence[str] = ()) -> list[Source]:
    """The sources of the given splits, by default of all splits in the folder, in the order of SOURCE_SPLITS.

    Raises:
      InputError: a split does not exist, or the folder has none.
    """
    if not raw.is_dir():
        raise InputError(
            f"{raw}: {'not a' if raw.exists() else 'no such'} folder; give the folder with the photos"
        )
    if (raw / labels_csv.NAME).is_file() and set(splits) <= {"train"}:
        _refuse_other_sources(raw)
        return [LabelledFolder(raw, "train")]
    there = [
        name
        for name in SOURCE_SPLITS
        if (raw / f"{name}.tar.gz").is_file() or (raw / name).is_dir()
    ]
    if not there and not splits:
        raise InputError(
            f"{raw}: none of train, test, extra in it, as NAME.tar.gz or NAME/, and no labels.csv; "
            "python -m svhn_jax.download downloads the published ones, python -m svhn_jax.synthesize makes synthetic "
            f"ones; for your own photos, write {labels_csv.NAME}"
        )
    return [find_source(raw, name) for name in SOURCE_SPLITS if name in (splits or there)]


def _refuse_other_sources(raw: Path) -> None:
    """Raises InputError if splits stand beside a labels.csv, which would hide them."""
    names = [
        f"{split}{end}"
        for split in SOURCE_SPLITS
        for end in (".tar.gz", f"/{MAT_NAME}", f"/{labels_csv.NAME}")
    ]
    if found := [name for name in names if (raw / name).is_file()]:
        raise InputError(
            f"{raw}: holds {labels_csv.NAME} and also {found[0]}; move one of them to another folder, or give --splits"
        )


class Folder:
    """An extracted folder SPLIT/ with N.png and digitStruct.mat."""

    def __init__(self, path: Path, split: str):
        self.path, self.split = path, split

    def stamp(self) -> str:
        return stamp(path for path in self._files() if path.is_file())

    def fingerprint(self) -> str:
        """SHA-256 of every file's name and content."""
        return _sha256_of(self.path, [path.name for path in self._files() if path.is_file()])

    def records(self) -> list[Record | Skipped]:
        """Every record of digitStruct.mat."""
        path = self.path / MAT_NAME
        if path.is_file() and path.stat().st_size > MAX_MAT_BYTES:
            raise InputError(f"{path}: larger than {MAX_MAT_BYTES} bytes; download it again")
        return digit_struct.read(path)

    def photos(self) -> Iterator[Photo]:
        for path in self._files():
            if path.name not in OTHER_FILES and not path.is_dir():
                if not PHOTO_NAME.fullmatch(path.name):
                    yield Photo(printable(path.name), b"", "not the name of a photo")
                else:
                    yield read_photo(self.path, path.name)

    def _files(self) -> list[Path]:
        with os.scandir(self.path) as entries:
            return sorted(Path(entry.path) for entry in entries)


class LabelledFolder:
    """The user's own photos, with labels and optional boxes in labels.csv."""

    def __init__(self, path: Path, split: str):
        self.path, self.split = path, split
        self._table = path / labels_csv.NAME

    def stamp(self) -> str:
        photos = (self.path / record.name for record in self._usable())
        return stamp([self._table, *(path for path in photos if path.is_file())])

    def fingerprint(self) -> str:
        """SHA-256 of the names and contents of labels.csv and of every photo that it names."""
        return _sha256_of(self.path, [labels_csv.NAME, *(record.name for record in self._usable())])

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


def _sha256_of(folder: Path, names: Iterable[str]) -> str:
    """SHA-256 of names and contents; for a file that is too large to be read, of its name and size."""
    digest = hashlib.sha256()
    for name in names:
        size = (folder / name).stat().st_size
        is_too_large = (
            size > (MAX_MAT_BYTES if name == MAT_NAME else MAX_PHOTO_BYTES)
            and name != labels_csv.NAME
        )
        content = f"{size} bytes" if is_too_large else files.sha256(folder / name)
        digest.update(f"{name} {content}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
