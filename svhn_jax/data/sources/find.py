"""Finds the source of a split: an archive, a folder, or your own photos."""

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path

from svhn_jax.data.photos import MAT_NAME, read_file
from svhn_jax.data.records import SOURCE_SPLITS, Photo, Record, Skipped, Source
from svhn_jax.data.sources import archive, digit_struct, labels_csv
from svhn_jax.errors import InputError


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
        f"{raw}: neither {split}.tar.gz nor {split}/ with its table there; {_remedy(raw)}"
    )


def _find(raw: Path, split: str) -> Source | None:
    for path in (raw / f"{split}{suffix}" for suffix in archive.ARCHIVE_SUFFIXES):
        if path.is_file():
            records = partial(archive.records, path, split)
            return Source(split, path, records, partial(archive.photos, path, split))
    return _folder(raw / split, split)


def _folder(path: Path, split: str) -> Source | None:
    """Photos with labels.csv, else the extracted ones with digitStruct.mat."""
    for name, read in ((labels_csv.NAME, labels_csv.read), (MAT_NAME, digit_struct.read)):
        if (path / name).is_file():
            records = cache(partial(read, path / name))
            return Source(split, path, records, partial(_photos, path, records))
    return None


def _photos(path: Path, records: Callable[[], list[Record | Skipped]]) -> Iterator[Photo]:
    """The photo of every record, in that order."""
    for record in records():
        if isinstance(record, Record):
            try:
                yield Photo(record.name, read_file(path / record.name))
            except ValueError as error:
                yield Photo(record.name, b"", str(error))


def find_all(raw: Path, splits: Sequence[str] = ()) -> list[Source]:
    """The sources of the given splits, by default of all, in the order of SOURCE_SPLITS.

    Raises:
      InputError: a split does not exist, or the folder has none.
    """
    if not raw.is_dir():
        raise InputError(f"{raw}: no such folder")
    if splits:
        return [find_source(raw, name) for name in SOURCE_SPLITS if name in splits]
    there = [source for split in SOURCE_SPLITS if (source := _find(raw, split))]
    own = _folder(raw, "train") if (raw / labels_csv.NAME).is_file() else None
    if own and there:
        raise InputError(
            f"{raw}: holds {labels_csv.NAME} and also {there[0].path.name}; "
            "move one of them to another folder, or give --splits"
        )
    if not (there or own):
        raise InputError(f"{raw}: none of train, test, extra there; {_remedy(raw)}")
    return [own] if own else there


def _remedy(raw: Path) -> str:
    """What to give in place of a folder that lacks a split."""
    folder = raw.resolve()
    if folder.name in SOURCE_SPLITS and (raw / MAT_NAME).is_file():
        return f"it is one split: give --raw {folder.parent} --splits {folder.name}"
    return (
        f"give the folder that holds SPLIT.tar.gz, SPLIT/{MAT_NAME} or {labels_csv.NAME}; "
        "python -m svhn_jax.download downloads the published archives"
    )
