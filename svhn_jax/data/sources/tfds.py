"""Reads the data set svhn_full that was prepared with TensorFlow Datasets (TFDS).

Reading does not need TensorFlow. TFDS takes a second to import: only when a source is opened.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from svhn_jax.data.records import Photo, Record, Skipped
from svhn_jax.data.sources.find import SOURCE_SPLITS
from svhn_jax.errors import InputError, one_line


def find_all(data_dir: Path, splits: Sequence[str] = ()) -> "list[TfdsSource]":
    """The sources of the given splits, by default of all, in the order of SOURCE_SPLITS.

    data_dir: TFDS's folder of data sets, which has svhn_full.

    Raises:
      InputError: the data set is missing, damaged, or lacks a split.
    """
    import tensorflow_datasets as tfds

    from svhn_jax.data.svhn_full.svhn_full_dataset_builder import Builder

    folder = data_dir / Builder.name / str(Builder.VERSION)
    with _errors_as_damage(folder):
        builder = tfds.builder_from_directory(folder)
        there, form = set(builder.info.splits), builder.info.file_format.value
        if form != "array_record":
            raise ValueError(f"{form} needs TensorFlow")
    if lacking := [split for split in splits if split not in there]:
        raise InputError(f"{folder}: has no {lacking[0]}, but {', '.join(sorted(there))}")
    return [TfdsSource(builder, folder, one) for one in SOURCE_SPLITS if one in (splits or there)]


@contextmanager
def _errors_as_damage(folder: Path) -> Iterator[None]:
    """A damaged file raises RuntimeError, ParseError, KeyError and others."""
    try:
        yield
    except Exception as error:
        raise InputError(
            f"{folder}: missing or damaged ({one_line(error)}); make it as docs/tfds.md shows"
        ) from None


class TfdsSource:
    """One split of svhn_full: the photos and records of a published archive that could be used."""

    def __init__(self, builder: Any, folder: Path, split: str):
        self.path, self.split = folder.parent, split  # DIR/svhn_full, of DIR/svhn_full/VERSION
        self._builder, self._folder = builder, folder

    def _examples(self) -> Iterator[dict[str, Any]]:
        """The examples in the order of storage, the image as the bytes of its file."""
        import tensorflow_datasets as tfds

        undecoded = {"image": tfds.decode.SkipDecoding()}
        with _errors_as_damage(self._folder):
            stored = self._builder.as_data_source(self.split, decoders=undecoded)
        for position in range(len(stored)):
            with _errors_as_damage(self._folder):
                example = stored[position]
            yield example

    def records(self) -> list[Record | Skipped]:
        """The record of every photo, then what was skipped when the data set was made."""
        records: list[Record | Skipped] = []
        for example in self._examples():
            digits, boxes = example["digits"]["label"], example["digits"]["bbox"]
            records.append(
                Record(example["name"].decode(), tuple(map(int, digits)), np.stack(boxes))
            )
        skipped = (self._builder.info.metadata or {}).get("skipped", {}).get(self.split, [])
        return [*records, *(Skipped(one["name"], one["reason"]) for one in skipped)]

    def photos(self) -> Iterator[Photo]:
        """Every photo, byte for byte the published file."""
        for example in self._examples():
            yield Photo(example["name"].decode(), example["image"])
