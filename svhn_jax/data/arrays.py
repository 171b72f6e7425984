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
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from svhn_jax import files
from svhn_jax.data.crop import CropRule
from svhn_jax.errors import InputError, printable
from svhn_jax.labels import DEFAULT_MAX_DIGITS, max_digits_of

FORMAT = 2
MANIFEST = "manifest.json"
SPLITS = ("train", "validation", "test")
TRAINED_ON = ("images", "labels", "names")
ARRAYS = (*TRAINED_ON, "boxes", "sizes")


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
    """The manifest of a prepared data set. One without max_digits gets the default.

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
        manifest: dict[str, Any] = {"max_digits": DEFAULT_MAX_DIGITS} | json.loads(path.read_text())
        CropRule(**manifest["crop"])
        for split, entry in manifest["splits"].items():
            # A copy from a bucket writes files of these names: allow no others.
            if split not in SPLITS or entry["sha256"].keys() != {*ARRAYS}:
                raise ValueError(f"{split!r} is not a split with its five arrays")
        if manifest["format"] != FORMAT:
            raise ValueError(f"format {manifest['format']!r}, this version reads {FORMAT}")
    except (InputError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: damaged or of another version ({printable(str(error))}); preprocess again"
        ) from None
    return manifest


def load_split(folder: str | Path, split: str) -> Split:
    """Opens one split of a prepared data set, memory-mapped and read-only.

        split = load_split("data/full", "train")
        split.images[0], svhn_jax.labels.decode(split.labels[0])

    Raises:
      InputError: there is no such data set or split, or the arrays do not agree with the manifest.
    """
    manifest = read_manifest(folder)
    entry, rule = _entry(manifest, folder, split), CropRule(**manifest["crop"])
    count, size = entry["examples"], rule.size
    checksums = json.dumps({name: entry["sha256"][name] for name in TRAINED_ON}, sort_keys=True)
    return Split(
        _open(folder, split, "images", "u1", (count, size, size, 3)),
        _open(folder, split, "labels", "<i4", (count, 1 + manifest["max_digits"])),
        _open(folder, split, "names", "S", (count,)),
        hashlib.sha256(checksums.encode()).hexdigest(),
        rule,
    )


def load_geometry(folder: str | Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Each number's box and its photo's size, in pixels.

    Returns:
      float32[N, 4] (left, top, width, height) and int32[N, 2] (width, height).

    Raises:
      InputError: as `load_split`.
    """
    count = _entry(read_manifest(folder), folder, split)["examples"]
    boxes = _open(folder, split, "boxes", "<f4", (count, 4))
    return boxes, _open(folder, split, "sizes", "<i4", (count, 2))


def _entry(manifest: dict[str, Any], folder: str | Path, split: str) -> dict[str, Any]:
    if split not in manifest["splits"]:
        there = ", ".join(manifest["splits"]) or "none"
        raise InputError(f"{folder}: has no split {split!r}; its splits: {there}")
    entry: dict[str, Any] = manifest["splits"][split]
    return entry


def _open(
    folder: str | Path, split: str, name: str, kind: str, shape: tuple[int, ...]
) -> np.ndarray:
    """An array, memory-mapped. kind: its type as numpy writes it, or how that begins."""
    path = Path(folder) / split / f"{name}.npy"
    try:
        array = np.load(path, mmap_mode="r")
    except Exception as error:  # np.load raises ValueError, EOFError, SyntaxError and others
        reason = printable(str(error))
        raise InputError(f"{path}: missing or damaged ({reason}); preprocess again") from None
    if array.shape != shape or not array.dtype.str.lstrip("|").startswith(kind):
        raise InputError(
            f"{path}: {array.dtype}{array.shape} where the manifest says {shape}; preprocess again"
        )
    return array


def damaged_arrays(folder: str | Path) -> list[str]:
    """The arrays, such as train/images.npy, whose SHA-256 differs from the manifest's."""
    checksums = {
        f"{split}/{name}.npy": checksum
        for split, entry in read_manifest(folder)["splits"].items()
        for name, checksum in entry["sha256"].items()
    }
    paths = {name: Path(folder) / name for name in checksums}
    return [
        name
        for name, path in paths.items()
        if not path.is_file() or files.sha256(path) != checksums[name]
    ]
