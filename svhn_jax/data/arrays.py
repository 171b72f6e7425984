"""Reads prepared data sets: a folder with memory-mapped arrays and a manifest.

    DIR/manifest.json       counts, skipped records, sources, crop settings, versions, checksums
    DIR/SPLIT/images.npy    uint8[N, size, size, 3]
    DIR/SPLIT/labels.npy    int32[N, 1 + D], D = max_digits; see svhn_jax.labels
    DIR/SPLIT/names.npy     bytes S[N], the photo of each row, such as train/1.png
    DIR/SPLIT/boxes.npy     float32[N, 4], the number there: left, top, width, height in pixels
    DIR/SPLIT/sizes.npy     int32[N, 2], that photo's width and height in pixels

A folder is complete exactly when it has a manifest; svhn_jax.data.writing writes it.
"""

import hashlib
import json
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from svhn_jax import files
from svhn_jax.data.crop import CropRule
from svhn_jax.errors import InputError, printable
from svhn_jax.labels import BLANK, DEFAULT_MAX_DIGITS, MOST_DIGITS, max_digits_of

FORMAT = 2
MANIFEST = "manifest.json"
SPLITS = ("train", "validation", "test")
TRAINED_ON = ("images", "labels", "names")
ABOUT_PHOTOS = ("boxes", "sizes")
BAD_MANIFEST = (InputError, ValueError, KeyError, TypeError, AttributeError, RecursionError)
NOT_LOADED = (ValueError, EOFError, SyntaxError, tokenize.TokenError, RecursionError)  # np.load


class Split(NamedTuple):
    """One split, memory-mapped: images uint8[N, S, S, 3], labels int32[N, 1 + D], names S[N].

    fingerprint: SHA-256 of the contents. crop: how the images were cropped.
    """

    images: np.ndarray
    labels: np.ndarray
    names: np.ndarray
    fingerprint: str
    crop: CropRule

    @property
    def max_digits(self) -> int:
        """D: the most digits of a number that the labels hold."""
        return max_digits_of(self.labels)


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """The manifest of a prepared data set, with the fields checked: it may come from a bucket.

    A manifest without max_digits gets the default.

    Raises:
      InputError: the folder has no manifest, or one that this version cannot read.
    """
    path = Path(folder) / MANIFEST
    if not path.is_file():
        raise InputError(
            f"{folder}: no prepared data set there; make one with "
            f"python -m svhn_jax.preprocess --raw RAW --to {folder}, or of synthetic photos with "
            f"python -m svhn_jax.synthesize --arrays {folder}"
        )
    try:
        manifest: dict[str, Any] = json.loads(path.read_bytes())
        manifest.setdefault("max_digits", DEFAULT_MAX_DIGITS)
        _check_manifest(manifest)
    except BAD_MANIFEST as error:
        raise InputError(
            f"{path}: damaged or of another version ({printable(str(error))}); preprocess again"
        ) from None
    return manifest


def _check_manifest(manifest: dict[str, Any]) -> None:
    """Raises an error if a field is not as this package writes it."""
    if manifest["format"] != FORMAT:
        raise ValueError(f"format {manifest['format']!r}, this version reads {FORMAT}")
    CropRule(**manifest["crop"])
    if manifest["max_digits"] not in range(1, MOST_DIGITS + 1):
        raise ValueError(f"max_digits is not 1 to {MOST_DIGITS}")
    counts, texts = [], []
    for split, entry in manifest["splits"].items():
        # A copy from a bucket writes files of these names: allow no others.
        if split not in SPLITS or entry["sha256"].keys() != {*TRAINED_ON, *ABOUT_PHOTOS}:
            raise ValueError(f"{split!r} is not a split with its five arrays")
        counts += [entry["examples"], *entry["lengths"].values()]
        texts += entry["sha256"].values()
    for split, source in manifest["sources"].items():
        counts.append(source["kept"])
        texts += [split, source["path"]]
        for skipped in source["skipped"]:
            texts += [skipped["name"], skipped["reason"]]
    if not all(type(count) is int and 0 <= count < 2**32 for count in counts):
        raise ValueError("a count that is none")
    if not "".join(texts).isprintable():
        raise ValueError("a text that is not printable")


def load_split(folder: str | Path, split: str) -> Split:
    """Opens one split of a prepared data set, memory-mapped and read-only.

        split = load_split("data/full", "train")
        split.images[0], svhn_jax.labels.decode(split.labels[0])

    Raises:
      InputError: there is no such data set or split, or the arrays do not agree with the manifest.
    """
    entry, rule, max_digits = _entry(folder, split)
    count, size = entry["examples"], rule.size
    checksums = json.dumps({name: entry["sha256"][name] for name in TRAINED_ON}, sort_keys=True)
    images = _open(folder, split, "images", "|u1", (count, size, size, 3))
    targets = _open(folder, split, "labels", "<i4", (count, 1 + max_digits))
    names = _open(folder, split, "names", "S", (count,))
    lengths, digits = targets[:, 0], targets[:, 1:]
    if (targets < 0).any() or (lengths > max_digits + 1).any() or (digits > BLANK).any():
        raise InputError(f"{folder}/{split}/labels.npy: impossible labels; preprocess again")
    return Split(images, targets, names, hashlib.sha256(checksums.encode()).hexdigest(), rule)


def nonempty_splits(folder: str | Path) -> list[str]:
    """The splits that hold images.

    Raises:
      InputError: as `read_manifest`.
    """
    return [name for name, entry in read_manifest(folder)["splits"].items() if entry["examples"]]


def load_geometry(folder: str | Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Each number's box and its photo's size, in pixels.

    Returns:
      float32[N, 4] (left, top, width, height) and int32[N, 2] (width, height).

    Raises:
      InputError: as `load_split`.
    """
    count = _entry(folder, split)[0]["examples"]
    boxes = _open(folder, split, "boxes", "<f4", (count, 4))
    sizes = _open(folder, split, "sizes", "<i4", (count, 2))
    if not (np.isfinite(boxes).all() and (boxes[:, 2:] > 0).all() and (sizes > 0).all()):
        raise InputError(f"{folder}/{split}: damaged (impossible boxes or sizes); preprocess again")
    return boxes, sizes


def _entry(folder: str | Path, split: str) -> tuple[dict[str, Any], CropRule, int]:
    """A split's entry in the manifest, the crop rule, and max_digits."""
    manifest = read_manifest(folder)
    if split not in manifest["splits"]:
        there = ", ".join(manifest["splits"]) or "none"
        raise InputError(f"{folder}: has no split {split!r}; its splits: {there}")
    return manifest["splits"][split], CropRule(**manifest["crop"]), manifest["max_digits"]


def _open(
    folder: str | Path, split: str, name: str, kind: str, shape: tuple[int, ...]
) -> np.ndarray:
    """An array, memory-mapped. kind: its type as numpy writes it, or how that begins."""
    path = Path(folder) / split / f"{name}.npy"
    try:
        if not path.is_file():
            raise InputError(f"{path}: not found; preprocess again")
        array = np.load(path, mmap_mode="r")
    except NOT_LOADED as error:
        raise InputError(f"{path}: damaged ({printable(str(error))}); preprocess again") from None
    if array.shape != shape or not array.dtype.str.lstrip("|").startswith(kind.lstrip("|")):
        raise InputError(
            f"{path}: {array.dtype}{array.shape} where the manifest says {shape}; preprocess again"
        )
    return array


def damaged_arrays(folder: str | Path) -> Iterator[tuple[Path, bool]]:
    """Every array of the data set, and whether its SHA-256 differs from the manifest's."""
    for split, entry in read_manifest(folder)["splits"].items():
        for name, checksum in entry["sha256"].items():
            path = Path(folder) / split / f"{name}.npy"
            yield path, not path.is_file() or files.sha256(path) != checksum
