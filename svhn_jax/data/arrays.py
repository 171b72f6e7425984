"""The prepared data set on disk: one folder with arrays that open memory-mapped, and a manifest.

    DIR/manifest.json          counts, skipped records, sources, crop settings, seed, versions
    DIR/SPLIT/images.npy       uint8[N, size, size, 3]
    DIR/SPLIT/labels.npy       int32[N, 6], see svhn_jax.labels
    DIR/SPLIT/names.npy        bytes S[N], the photo each row came from, such as train/1.png

A folder is complete exactly when it has a manifest: it is built beside its place and renamed.
"""

import hashlib
import json
import os
import shutil
import tokenize
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from svhn_jax.errors import InputError

FORMAT = 1
MANIFEST = "manifest.json"
SPLITS = ("train", "validation", "test")


class Split(NamedTuple):
    """One split, memory-mapped: images uint8[N, S, S, 3], labels int32[N, 6], names S[N]; and its fingerprint."""

    images: np.ndarray
    labels: np.ndarray
    names: np.ndarray
    fingerprint: str


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """The manifest of a prepared data set.

    Raises:
      InputError: the folder has none, or one this version cannot read.
    """
    path = Path(folder) / MANIFEST
    try:
        manifest = json.loads(path.read_text())
        if manifest["format"] != FORMAT:
            raise InputError(f"{path}: format {manifest['format']}, this version reads {FORMAT}; preprocess again")
        if not isinstance(manifest["splits"], dict) or not isinstance(manifest["crop"], dict):
            raise TypeError("splits and crop are no tables")
        return manifest
    except FileNotFoundError:
        raise InputError(
            f"{folder}: no prepared data set there; make one with python -m svhn_jax.preprocess --raw RAW --to {folder}"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: damaged ({error!r}); preprocess again") from None


def load_split(folder: str | Path, split: str) -> Split:
    """Opens one split of a prepared data set, memory-mapped and read-only.

    Raises:
      InputError: no such data set or split, or arrays that do not agree with the manifest.
    """
    manifest = read_manifest(folder)
    if split not in manifest["splits"]:
        there = ", ".join(manifest["splits"]) or "none"
        raise InputError(f"{folder}: has no split {split!r}; its splits: {there}")
    try:
        entry = manifest["splits"][split]
        count, size = int(entry["examples"]), int(manifest["crop"]["size"])
        fingerprint = hashlib.sha256(json.dumps(entry["sha256"], sort_keys=True).encode()).hexdigest()
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder}/{MANIFEST}: damaged ({error!r}); preprocess again") from None
    expected = {
        "images": (np.uint8, (count, size, size, 3)),
        "labels": (np.int32, (count, 6)),
        "names": (None, (count,)),
    }
    opened = []
    for name, (dtype, shape) in expected.items():
        path = Path(folder) / split / f"{name}.npy"
        try:
            array = np.load(path, mmap_mode="r")
        except FileNotFoundError:
            raise InputError(f"{path}: not found; preprocess again") from None
        except (ValueError, EOFError, SyntaxError, tokenize.TokenError) as error:  # np.load raises any of these
            raise InputError(f"{path}: damaged ({error}); preprocess again") from None
        if array.shape != shape or (dtype is not None and array.dtype != dtype):
            raise InputError(f"{path}: {array.dtype}{array.shape} where the manifest says {shape}; preprocess again")
        opened.append(array)
    images, labels, names = opened
    return Split(images, labels, names, fingerprint)


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Yields a new folder beside `folder`; it takes that place, whole, when the block ends well.

    Until then what stood there stays as it was; after an exception the new folder is removed.
    What an earlier, killed run left unfinished is removed first.
    """
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial, old = (folder.with_name(f".{folder.name}.{word}") for word in ("partial", "old"))
    if old.exists() and not folder.exists():  # killed between the two renames below
        os.rename(old, folder)
    for leftover in (partial, old):
        shutil.rmtree(leftover, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        if folder.exists():
            os.rename(folder, old)
        os.rename(partial, folder)
        shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def write_split(
    folder: Path, images: np.ndarray, labels: np.ndarray, names: list[str], rows: np.ndarray
) -> dict[str, Any]:
    """Writes the given rows as one split into `folder`; returns its manifest entry.

    Args:
      images: uint8[M, S, S, 3], perhaps memory-mapped; copied a block at a time.
      labels: int32[M, 6].
      names: M names.
      rows: int[N], the rows to write, in order.
    """
    folder.mkdir()
    shape = (len(rows), *images.shape[1:])
    target = np.lib.format.open_memmap(folder / "images.npy", mode="w+", dtype=np.uint8, shape=shape)
    for start in range(0, len(rows), 4096):
        target[start : start + 4096] = images[rows[start : start + 4096]]
    target.flush()
    np.save(folder / "labels.npy", labels[rows])
    np.save(folder / "names.npy", np.array([names[row] for row in rows], dtype="S"))
    lengths, counts = np.unique(labels[rows][:, 0], return_counts=True)
    return {
        "examples": len(rows),
        "lengths": {str(length): int(count) for length, count in zip(lengths, counts, strict=True)},
        "sha256": {name: sha256(folder / f"{name}.npy") for name in ("images", "labels", "names")},
    }
