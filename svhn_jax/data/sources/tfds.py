"""Reads the data set svhn_full that was prepared with TensorFlow Datasets (TFDS).

Reading does not need TensorFlow. TFDS takes a second to import: only when a source is opened.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from svhn_jax.data.records import SOURCE_SPLITS, Photo, Record, Skipped, Source
from svhn_jax.errors import InputError, one_line


def find_all(data_dir: Path, splits: Sequence[str] = ()) -> list[Source]:
    """The sources of the given splits, by default of all, in the order of SOURCE_SPLITS.

    data_dir: TFDS's folder of data sets, which has svhn_full.

    Raises:
      InputError: the data set is missing, damaged, or lacks a split.
    """
    import tensorflow_datasets as tfds

    from svhn_jax.data.svhn_full.svhn_full_dataset_builder import Builder

    folder = data_dir / Builder.name / str(Builder.VERSION)
    try:
        builder = tfds.builder_from_directory(folder)
        there = {*builder.info.splits}
    except Exception as error:
        raise _damaged(folder, error) from None
    if lacking := {*splits} - there:
        raise InputError(f"{folder}: has no {lacking.pop()}, but {', '.join(sorted(there))}")
    chosen = [split for split in SOURCE_SPLITS if split in (splits or there)]
    records, photos = partial(_records, builder), partial(_photos, builder)
    return [
        Source(split, folder.parent, partial(records, split), partial(photos, split))
        for split in chosen
    ]


def _damaged(folder: Path | str, error: Exception) -> InputError:
    """A damaged file raises RuntimeError, ParseError, KeyError and others."""
    return InputError(
        f"{folder}: missing or damaged ({one_line(error)}); make it as docs/tfds.md shows"
    )


def _examples(builder: Any, split: str) -> Iterator[dict[str, Any]]:
    """The examples in the order of storage, the image as the bytes of its file."""
    import tensorflow_datasets as tfds

    try:
        stored = builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})
        yield from (stored[position] for position in range(len(stored)))
    except Exception as error:
        raise _damaged(builder.data_dir, error) from None


def _records(builder: Any, split: str) -> list[Record | Skipped]:
    """The record of every photo, then what was skipped when the data set was made."""
    records: list[Record | Skipped] = []
    for example in _examples(builder, split):
        digits = example["digits"]
        labels, boxes = tuple(map(int, digits["label"])), np.stack(digits["bbox"])
        records.append(Record(example["name"].decode(), labels, boxes))
    skipped = (builder.info.metadata or {}).get("skipped", {}).get(split, [])
    return [*records, *(Skipped(one["name"], one["reason"]) for one in skipped)]


def _photos(builder: Any, split: str) -> Iterator[Photo]:
    """Every photo, byte for byte the published file."""
    for example in _examples(builder, split):
        yield Photo(example["name"].decode(), example["image"])
