"""Writes a prepared data set (see svhn_jax.data.arrays for its layout): beside its place, then renamed as a whole."""

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from svhn_jax import files
from svhn_jax.data.arrays import ABOUT_PHOTOS, MANIFEST, SPLITS, TRAINED_ON
from svhn_jax.errors import InputError, UnfinishedError

NAMES = (*TRAINED_ON, *ABOUT_PHOTOS)
ROWS_AT_ONCE = 4096
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # errors of writing, which often name no file


@contextmanager
def building(folder: Path, *, resumes: bool = True) -> Iterator[Path]:
    """Yields a folder beside `folder` to build a data set in; it replaces `folder` when the block ends without an error.

    Until then `folder` stays as it was. If `resumes`, the unfinished data set of an earlier run that was killed is
    still in the yielded folder, and only an error in the input deletes it; else the folder is empty, and every error does.

    Raises:
      InputError: another process builds there.
      OSError: it cannot be written; names `folder`.
    """
    asked, folder = folder, folder.resolve()
    partial, old, lock = (
        folder.with_name(f".{folder.name}.{word}") for word in ("partial", "old", "lock")
    )
    with files.naming(asked):
        doing = f"is preparing {folder}; wait for it, or give another --to"
        held = files.hold_lock(lock, doing)
    with held, _naming(asked, (partial, old)):
        try:
            for path in (partial, old):
                if path.is_symlink():  # not made here; never follow it
                    path.unlink()
            if old.exists() and not folder.exists():  # killed between the two renames below
                os.rename(old, folder)
            shutil.rmtree(old, ignore_errors=True)
            if not resumes:
                shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(exist_ok=True)
            try:
                yield partial
            except BaseException as error:
                is_bad_input = isinstance(error, InputError) and not isinstance(
                    error, UnfinishedError
                )
                if is_bad_input or not resumes:
                    shutil.rmtree(partial, ignore_errors=True)
                raise
            if folder.exists():
                os.rename(folder, old)
            os.rename(partial, folder)
            files.sync(folder.parent)
            shutil.rmtree(old, ignore_errors=True)
        finally:
            lock.unlink(missing_ok=True)


@contextmanager
def _naming(asked: Path, made: tuple[Path, ...]) -> Iterator[None]:
    """Errors of writing name the folder that the user asked for, in place of one of `made`, or of none."""
    try:
        yield
    except OSError as error:
        # Of a copy, filename is the source, and filename2 the target.
        named = [
            Path(os.fsdecode(one))
            for one in (error.filename, error.filename2)
            if isinstance(one, str | bytes)
        ]
        is_made = any(path.is_relative_to(folder) for path in named for folder in made)
        if not is_made and (named or error.errno not in FULL):
            raise
        raise OSError(error.errno, error.strerror or str(error), str(asked)) from None


def remove_replaced(folder: Path) -> None:
    """Deletes the old data set beside `folder`, if a kill left it there after the new one took its place."""
    old = folder.resolve().with_name(f".{folder.resolve().name}.old")
    if old.is_dir() and not old.is_symlink():
        shutil.rmtree(old, ignore_errors=True)


def files_in(folder: Path) -> tuple[set[str], set[str]]:
    """The files below `folder` that have names of a data set's files, and all other files."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; give a folder")
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}
    ours = found & {MANIFEST, *(f"{split}/{name}.npy" for split in SPLITS for name in NAMES)}
    return ours, found - ours


def create_images(path: Path, count: int, size: int) -> int:
    """Creates an images file of `count` rows, to be filled later; returns the offset of the first row in it."""
    with open(path, "wb") as file:
        _write_header(file, count, size)
        offset = file.tell()
        file.truncate(offset + count * size * size * 3)
    return offset


def write_image(path: str, offset: int, image: np.ndarray) -> None:
    """Writes an image uint8[S, S, 3] at an offset of an images file."""
    file, content = os.open(path, os.O_WRONLY), image.tobytes()
    try:
        while content:  # on a full disk a first call writes a part, and the next one fails
            written = os.pwrite(file, content, offset)
            content, offset = content[written:], offset + written
    finally:
        os.close(file)


def _write_header(file: BinaryIO, count: int, size: int) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, size, size, 3)}
    np.lib.format.write_array_header_1_0(file, header)


def finish_split(
    folder: Path, labels: np.ndarray, names: list[str], boxes: np.ndarray, sizes: np.ndarray
) -> dict[str, Any]:
    """Writes the other arrays beside a filled images file, and removes the rows from it that stayed empty.

    After an interruption it can be called again.

    Args:
      folder: holds images.npy of M rows, or of the N kept rows after an interruption.
      labels: int32[M, 1 + D].
      names: of the M photos.
      boxes: float32[M, 4].
      sizes: int32[M, 2]; width 0 marks a row that stayed empty.

    Returns:
      The split's entry in the manifest.
    """
    kept = sizes[:, 0] > 0
    path = folder / "images.npy"
    size = np.load(path, mmap_mode="r").shape[1]
    if len(np.load(path, mmap_mode="r")) != kept.sum():
        _remove_rows(path, kept, size)
    names_kept = [name for name, is_kept in zip(names, kept, strict=True) if is_kept]
    np.save(folder / "labels.npy", labels[kept].astype(np.int32))
    np.save(folder / "names.npy", np.array([name.encode() for name in names_kept], dtype="S"))
    np.save(folder / "boxes.npy", boxes[kept].astype(np.float32))
    np.save(folder / "sizes.npy", sizes[kept].astype(np.int32))
    lengths, counts = np.unique(labels[kept][:, 0], return_counts=True)
    for name in NAMES:
        files.sync(folder / f"{name}.npy")
    return {
        "examples": len(names_kept),
        "lengths": {str(length): int(count) for length, count in zip(lengths, counts, strict=True)},
        "sha256": {name: files.sha256(folder / f"{name}.npy") for name in NAMES},
    }


def _remove_rows(path: Path, kept: np.ndarray, size: int) -> None:
    """Rewrites an images file with the kept rows only. It reads instead of mapping: mapped pages count as memory."""
    shorter = path.with_suffix(".shorter")
    with open(path, "rb") as source, open(shorter, "wb") as target:
        _write_header(target, int(kept.sum()), size)
        np.lib.format.read_magic(source)
        np.lib.format.read_array_header_1_0(source)
        for start in range(0, len(kept), ROWS_AT_ONCE):
            block = kept[start : start + ROWS_AT_ONCE]
            rows = np.fromfile(source, np.uint8, len(block) * size * size * 3).reshape(
                len(block), -1
            )
            rows[block].tofile(target)
    files.sync(shorter)
    os.replace(shorter, path)


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Writes manifest.json; a kill leaves the old one or the new one."""
    files.write_text(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")
