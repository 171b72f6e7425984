"""Finds the source of a split: an archive, a folder, or your own photos."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from svhn_jax.data.photos import MAT_NAME, OTHER_FILES, PHOTO_NAME, SUFFIXES, read_photo
from svhn_jax.data.records import Photo, Record, Skipped
from svhn_jax.data.sources import archive, digit_struct, labels_csv
from svhn_jax.data.sources.archive import Archive
from svhn_jax.errors import InputError, printable

SOURCE_SPLITS = ("train", "extra", "test")
TABLES = (MAT_NAME, labels_csv.NAME)


class Source(Protocol):
    """The photos and records of one split."""

    split: str
    path: Path

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
    raise InputError(f"{raw}: neither {split}.tar.gz nor {split}/ there; {_remedy(raw)}")


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
        for path in (source.path for source in there):
            if path.is_file() or any((path / name).is_file() for name in TABLES):
                raise InputError(
                    f"{raw}: holds {labels_csv.NAME} and also {path.name}; "
                    "move one of them to another folder, or give --splits"
                )
        return [LabelledFolder(raw, "train")]
    if splits:
        return [find_source(raw, name) for name in SOURCE_SPLITS if name in splits]
    if not there:
        raise InputError(f"{raw}: none of train, test, extra there; {_remedy(raw)}")
    return there


def _remedy(raw: Path) -> str:
    """What to give in place of a folder that lacks a split."""
    folder = raw.resolve()
    if folder.name in SOURCE_SPLITS and (raw / MAT_NAME).is_file():
        return f"it is one split: give --raw {folder.parent} --splits {folder.name}"
    return (
        f"give the folder that holds SPLIT.tar.gz or SPLIT/ (unpacked), or {labels_csv.NAME}; "
        "python -m svhn_jax.download downloads the published archives"
    )


class Folder:
    """An extracted folder SPLIT/ with N.png and digitStruct.mat."""

    def __init__(self, path: Path, split: str):
        self.path, self.split = path, split

    def records(self) -> list[Record | Skipped]:
        """Every record of digitStruct.mat."""
        return digit_struct.read(self.path / MAT_NAME)

    def photos(self) -> Iterator[Photo]:
        for path in sorted(self.path.iterdir()):
            if path.name in OTHER_FILES or path.is_dir():
                continue
            if PHOTO_NAME.fullmatch(path.name):
                yield read_photo(self.path, path.name)
            else:
                yield Photo(printable(path.name), b"", "not the name of a photo")


class LabelledFolder:
    """Your own photos, with labels and optional boxes in labels.csv."""

    def __init__(self, path: Path, split: str):
        self.path, self.split = path, split

    def records(self) -> list[Record | Skipped]:
        """Every row with its line number, also those that cannot be used."""
        return labels_csv.read(self.path / labels_csv.NAME)

    def photos(self) -> Iterator[Photo]:
        """The photos that labels.csv names, in its order, then the other photos."""
        names = [record.name for record in self.records() if isinstance(record, Record)]
        for name in names:
            yield read_photo(self.path, name)
        there = (path for path in self.path.rglob("*") if path.suffix.lower() in SUFFIXES)
        for name in sorted({str(path.relative_to(self.path)) for path in there} - set(names)):
            yield Photo(printable(name), b"", "no row in labels.csv")
