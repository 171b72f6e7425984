"""Reads photos and records from data sets that were prepared with TensorFlow Datasets (TFDS).

Reading needs the package tensorflow_datasets, but not TensorFlow. The package is imported only when a
source is opened.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from svhn_jax.data.photos import stamp
from svhn_jax.data.records import Photo, Record, Skipped
from svhn_jax.data.sources.find import SOURCE_SPLITS
from svhn_jax.errors import InputError

NO_BOX = np.zeros((0, 4))


class NoSuchSplit(InputError):
    """The prepared data set does not have that split."""


def import_tfds() -> Any:
    """The module tensorflow_datasets.

    Raises:
      InputError: it is not installed, or its undeclared dependency importlib_resources is not.
    """
    try:
        import_module("importlib_resources")
        return import_module("tensorflow_datasets")
    except ModuleNotFoundError as error:
        raise InputError(
            f"{error.name} is not installed; pip install tensorflow-datasets importlib_resources"
        ) from None


class _PreparedSplit:
    """One split of a data set that TFDS wrote as array_record."""

    def __init__(self, folder: Path, split: str, features: set[str], remedy: str):
        self.split = split
        self.path = folder.parent  # DIR/NAME, of DIR/NAME/VERSION
        self._folder = folder
        self._remedy = remedy
        self._tfds = import_tfds()
        if not (folder / "dataset_info.json").is_file():
            raise InputError(f"{folder}: no prepared data set there; {remedy}")
        with self._errors_as_damage():
            builder = self._tfds.builder_from_directory(folder)
            info = builder.info
            left_out = (
                (info.metadata or {}).get("left_out", {}).get(split, {"records": [], "photos": []})
            )
            self._bad_records, self._bad_photos = left_out["records"], left_out["photos"]
        if info.file_format.value != "array_record":
            raise InputError(
                f"{folder}: written as {info.file_format.value}, which only TensorFlow reads; delete it, then {remedy}"
            )
        if not features <= set(info.features):
            raise InputError(
                f"{folder}: a data set of another kind, with {', '.join(info.features)}; {remedy}"
            )
        if split not in info.splits:
            raise NoSuchSplit(
                f"{folder}: has no split {split!r}; its splits: {', '.join(info.splits)}"
            )
        self._builder = builder

    def stamp(self) -> str:
        """SHA-256 of the names, sizes and times of the data set's files."""
        return stamp(sorted(self._folder.iterdir()))

    def fingerprint(self) -> str:
        """SHA-256 of the examples and of the skipped ones; equal when the same photos are prepared again."""
        from tensorflow_datasets.proto import tf_example_pb2

        digest = hashlib.sha256(
            json.dumps([self._bad_records, self._bad_photos], sort_keys=True).encode()
        )
        method = self._tfds.decode.DeserializeMethod.RAW_BYTES
        for example in self._read(deserialize_method=method):
            # The fields of an example are stored in random order.
            digest.update(
                tf_example_pb2.Example.FromString(example).SerializeToString(deterministic=True)
            )
        return digest.hexdigest()

    def _examples(self) -> Iterator[dict[str, Any]]:
        """The examples in the order of storage, the image as the bytes of its file."""
        return self._read(decoders={"image": self._tfds.decode.SkipDecoding()})

    def _read(self, **how: Any) -> Iterator[Any]:
        with self._errors_as_damage():
            source = self._builder.as_data_source(self.split, **how)
        for position in range(len(source)):
            with self._errors_as_damage():
                example = source[position]
            yield example

    @contextmanager
    def _errors_as_damage(self) -> Iterator[None]:
        try:
            yield
        except ImportError as error:
            raise InputError(f"{error.name} is not installed; pip install {error.name}") from None
        except (InputError, MemoryError):
            raise
        except (
            Exception
        ) as error:  # a missing, cut or altered file: RuntimeError, ParseError, KeyError and others
            raise InputError(
                f"{self._folder}: damaged ({error}); delete it, then {self._remedy}"
            ) from None


class TfdsSource(_PreparedSplit):
    """One split of svhn_full, with the same records and photos as in the published archives.

    Args:
      data_dir: TFDS's folder of data sets, which has svhn_full.
      split: train, test or extra.

    Raises:
      InputError: TFDS is not installed, or the data set is missing, damaged, or without that split.
    """

    def __init__(self, data_dir: Path, split: str):
        import_tfds()
        from svhn_jax.data.svhn_full.svhn_full_dataset_builder import Builder

        remedy = f"make it with python -m svhn_jax.data.svhn_full --raw RAW --data-dir {data_dir}"
        folder = data_dir / Builder.name / str(Builder.VERSION)
        super().__init__(folder, split, {"image", "name", "digits"}, remedy)

    def records(self) -> list[Record | Skipped]:
        """Every record, in the order of digitStruct.mat, also those of skipped photos."""
        left_out = [
            entry for entry in (*self._bad_records, *self._bad_photos) if "position" in entry
        ]
        others = {entry["position"]: _left_out_record(entry) for entry in left_out}
        records: list[Record | Skipped] = []
        for example in self._examples():
            while len(records) in others:
                records.append(others.pop(len(records)))
            digits, boxes = example["digits"]["label"], example["digits"]["bbox"]
            records.append(
                Record(example["name"].decode(), tuple(map(int, digits)), np.stack(boxes))
            )
        return records + [others[position] for position in sorted(others)]

    def photos(self) -> Iterator[Photo]:
        """Every photo, byte for byte the published file; then the skipped ones, with the reason."""
        for example in self._examples():
            yield Photo(example["name"].decode(), example["image"])
        for entry in self._bad_photos:
            yield Photo(entry["name"], b"", entry["reason"])


def _left_out_record(entry: dict[str, Any]) -> Record | Skipped:
    if "digits" in entry:
        return Record(entry["name"], tuple(entry["digits"]), np.array(entry["boxes"]))
    return Skipped(entry["name"], entry["reason"])


class CroppedDigits(_PreparedSplit):
    """One split of TFDS's svhn_cropped: single digits, as numbers of one digit without a box.

    The 32x32 photos already have context around the digit, so the whole photo is used. They come from the same
    photos as the full numbers: train includes numbers that a validation split of train holds out, and test must not
    be used for training.

    Args:
      data_dir: TFDS's folder of data sets, which has svhn_cropped.
      split: train, test or extra.

    Raises:
      InputError: as for TfdsSource.
    """

    def __init__(self, data_dir: Path, split: str):
        remedy = (
            "make it in Python with TensorFlow and scipy: tensorflow_datasets.builder("
            f"'svhn_cropped', data_dir='{data_dir}', file_format='array_record').download_and_prepare()"
        )
        super().__init__(
            data_dir / "svhn_cropped" / "3.1.0", split, {"image", "label", "id"}, remedy
        )

    def records(self) -> list[Record | Skipped]:
        """Every digit, in the order of storage."""
        return [
            Record(_cropped_name(example), (int(example["label"]),), NO_BOX)
            for example in self._examples()
        ]

    def photos(self) -> Iterator[Photo]:
        """Every photo, as the PNG file that TFDS made of it."""
        for example in self._examples():
            yield Photo(_cropped_name(example), example["image"])


def _cropped_name(example: dict[str, Any]) -> str:
    return f"{example['id'].decode()}.png"


def find_all(
    kind: type[TfdsSource] | type[CroppedDigits], data_dir: Path, splits: Sequence[str] = ()
) -> list[TfdsSource | CroppedDigits]:
    """The sources of the given splits, by default of all that the data set has, in the order of SOURCE_SPLITS.

    Raises:
      InputError: as for the source; or the data set lacks a given split, or has none of SOURCE_SPLITS.
    """
    found: list[TfdsSource | CroppedDigits] = []
    for split in (name for name in SOURCE_SPLITS if not splits or name in splits):
        try:
            found.append(kind(data_dir, split))
        except NoSuchSplit:
            if splits or (split == SOURCE_SPLITS[-1] and not found):
                raise
    return found
