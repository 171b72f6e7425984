"""Reads prepared data sets: a folder with memory-mapped arrays and a manifest.

    DIR/manifest.json          counts, skipped records, sources, crop settings, max_digits, seed, versions, checksums
    DIR/SPLIT/images.npy       uint8[N, size, size, 3]
    DIR/SPLIT/labels.npy       int32[N, 1 + D], D = max_digits; see svhn_jax.labels
    DIR/SPLIT/names.npy        bytes S[N], the photo of each row, such as train/1.png
    DIR/SPLIT/boxes.npy        float32[N, 4], the number in that photo: left, top, width, height in pixels
    DIR/SPLIT/sizes.npy        int32[N, 2], that photo's width and height in pixels

A folder is complete exactly when it has a manifest; svhn_jax.data.writing writes it.
"""

import hashlib
import json
import re
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
MAX_MANIFEST_BYTES = 2**26  # half a million skipped records
MAX_ROWS = 2**32
MAX_NAME_BYTES = 2**11
SHA256 = re.compile(r"[0-9a-f]{64}")
NOT_LOADED = (
    ValueError,
    EOFError,
    SyntaxError,
    tokenize.TokenError,
    RecursionError,
)  # what np.load raises


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
    """The manifest of a prepared data set. It may be untrusted: every field that the package uses is checked here.

    One of a version without max_digits gets the 5 that its labels have.

    Raises:
      InputError: the folder has no manifest, or one that this version cannot read.
    """
    path = Path(folder) / MANIFEST
    try:
        _refuse_irregular(path)
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise ValueError(f"more than {MAX_MANIFEST_BYTES} bytes")
        manifest = json.loads(path.read_text())
        if manifest["format"] != FORMAT:
            raise InputError(
                f"format {printable(repr(manifest['format']))}, this version reads {FORMAT}"
            )
        manifest.setdefault("max_digits", DEFAULT_MAX_DIGITS)
        _check_manifest(manifest)
        return manifest
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            f"{folder}: no prepared data set there; make one with python -m svhn_jax.preprocess --raw RAW --to {folder}, "
            f"or of synthetic photos with python -m svhn_jax.synthesize --arrays {folder}"
        ) from None
    except InputError as error:
        raise InputError(
            f"{path}: damaged or of another version ({error}); preprocess again"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path}: damaged ({printable(repr(error))}); preprocess again") from None


def _check_manifest(manifest: dict[str, Any]) -> None:
    """Raises InputError, ValueError, KeyError, TypeError or AttributeError if a field is not as this package writes it."""
    CropRule(**manifest["crop"])
    _require(
        _is_count(manifest["max_digits"], MOST_DIGITS) and manifest["max_digits"] > 0,
        f"max_digits is not 1 to {MOST_DIGITS}",
    )
    for split, entry in manifest["splits"].items():
        _require(split in SPLITS, f"{split!r} is not a split")
        _require(_is_count(entry["examples"], MAX_ROWS), "a split's examples are not a count")
        _require(all(map(_is_count, entry["lengths"].values())), "a split's lengths are not counts")
        # A copy of the data set writes to paths with these names: allow no others.
        _require(
            entry["sha256"].keys() == {*TRAINED_ON, *ABOUT_PHOTOS},
            "a split's sha256 does not have the names of its arrays",
        )
        _require(
            all(map(SHA256.fullmatch, entry["sha256"].values())),
            "a split's sha256 are not checksums",
        )
    for split, source in manifest["sources"].items():
        _require(_is_count(source["kept"]), "a source's kept is not a count")
        _require(all(map(_is_count, source["noted"].values())), "a source's noted are not counts")
        skipped = source["skipped"]
        _require(
            all(_is_count(entry.get("line", 0)) for entry in skipped),
            "a skipped record's line is not a count",
        )
        keys = {key for entry in skipped for key in entry}
        _require(
            keys <= {"name", "reason", "line"},
            "a skipped record has other fields than name, reason and line",
        )
        texts = [text for entry in skipped for text in (entry["name"], entry["reason"])]
        _require(
            "".join((split, source["path"], *source["noted"], *texts)).isprintable(),
            "texts that are not printable",
        )


def _require(is_right: bool, otherwise: str) -> None:
    if not is_right:
        raise ValueError(otherwise)


def _is_count(value: Any, most: int = 2**53) -> bool:
    return type(value) is int and 0 <= value <= most


def _refuse_irregular(path: Path) -> None:
    """Raises ValueError for a pipe, which would block, and for a device, which may have no end."""
    if path.exists() and not path.is_file():
        raise ValueError("not a regular file")


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
    images = _open(folder, split, "images", np.uint8, (count, size, size, 3))
    targets = _open(folder, split, "labels", np.int32, (count, 1 + max_digits))
    names = _open(folder, split, "names", None, (count,))
    if names.dtype.kind != "S" or names.dtype.itemsize > MAX_NAME_BYTES or not _are_texts(names):
        raise InputError(
            f"{folder}/{split}/names.npy: damaged (not names of photos); preprocess again"
        )
    if not (
        (targets >= 0).all()
        and (targets[:, 0] <= max_digits + 1).all()
        and (targets[:, 1:] <= BLANK).all()
    ):
        raise InputError(
            f"{folder}/{split}/labels.npy: damaged (impossible labels); delete {folder}, preprocess again"
        )
    return Split(images, targets, names, hashlib.sha256(checksums.encode()).hexdigest(), rule)


def is_sound(folder: str | Path, settings: dict[str, Any]) -> bool:
    """Whether the folder holds a data set of these settings whose arrays agree with its manifest."""
    try:
        manifest = read_manifest(folder)
        for split in manifest["splits"]:
            load_split(folder, split)
            load_geometry(folder, split)
        return all(manifest.get(name) == value for name, value in settings.items())
    except InputError:
        return False


def nonempty_splits(folder: str | Path) -> list[str]:
    """The splits that hold images.

    Raises:
      InputError: as `read_manifest`.
    """
    return [name for name, entry in read_manifest(folder)["splits"].items() if entry["examples"]]


def load_geometry(folder: str | Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """For each row, in pixels of its photo: the number's box float32[N, 4] (left, top, width, height), and the photo's
    size int32[N, 2] (width, height).

    Raises:
      InputError: as `load_split`.
    """
    count = _entry(folder, split)[0]["examples"]
    boxes = _open(folder, split, "boxes", np.float32, (count, 4))
    sizes = _open(folder, split, "sizes", np.int32, (count, 2))
    if not (np.isfinite(boxes).all() and (boxes[:, 2:] > 0).all() and (sizes > 0).all()):
        raise InputError(f"{folder}/{split}: damaged (impossible boxes or sizes); preprocess again")
    return boxes, sizes


def _are_texts(names: np.ndarray) -> bool:
    """Whether all names are UTF-8 without control characters, so that they can be printed."""
    try:
        return b" ".join(names.tolist()).decode().isprintable()
    except UnicodeDecodeError:
        return False


def _entry(folder: str | Path, split: str) -> tuple[dict[str, Any], CropRule, int]:
    """A split's entry in the manifest, the crop rule, and max_digits."""
    manifest = read_manifest(folder)
    if split not in manifest["splits"]:
        there = ", ".join(manifest["splits"]) or "none"
        raise InputError(f"{folder}: has no split {split!r}; its splits: {there}")
    return manifest["splits"][split], CropRule(**manifest["crop"]), manifest["max_digits"]


def _open(
    folder: str | Path, split: str, name: str, dtype: type | None, shape: tuple[int, ...]
) -> np.ndarray:
    path = Path(folder) / split / f"{name}.npy"
    try:
        _refuse_irregular(path)
        array = np.load(path, mmap_mode="r")
    except FileNotFoundError:
        raise InputError(f"{path}: not found; preprocess again") from None
    except NOT_LOADED as error:
        raise InputError(f"{path}: damaged ({error}); preprocess again") from None
    if array.shape != shape or (dtype is not None and array.dtype != dtype):
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
