"""What scenes are made of: photos with the boxes of their digits, and pictures without a number."""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from svhn_jax.data.photos import SUFFIXES, decode_photo, read_file
from svhn_jax.data.records import Account, Record, Source
from svhn_jax.data.sources.find import find_all, find_source
from svhn_jax.data.synthetic.typesetting import natural_aspect
from svhn_jax.data.writing import choose_validation
from svhn_jax.errors import InputError
from svhn_jax.labels import DEFAULT_MAX_DIGITS

# Of train; as svhn_jax.preprocess --validation-fraction 0.2 draws the validation split.
VALIDATION_FRACTION = 0.2
HELD_OUT = 10  # of the pictures without a number, one in so many


class Example(NamedTuple):
    """An upright RGB photo and its digits; boxes: float[n, 4], left, top, right, bottom."""

    name: str
    photo: Image.Image
    digits: tuple[int, ...]
    boxes: np.ndarray

    @property
    def number(self) -> str:
        return "".join(map(str, self.digits))


class Material(NamedTuple):
    """What training scenes are made of."""

    examples: list[Example]
    empty: list[Image.Image]


@functools.cache
def of_split(split: str, raw: str, boxed: str | None, empty: str) -> Material:
    """The material of train or validation scenes. Cached, for worker processes.

    Args:
      raw: folder of train.tar.gz or train/.
      boxed: folder of further boxed photos (svhn_jax.box), for training alone.
      empty: folder of pictures without a number; every tenth is kept for validation.
    """
    source, is_validation = find_source(Path(raw), "train"), split == "validation"
    held_out = held_out_names(source)
    chosen = [one for one in examples(source) if (one.name in held_out) == is_validation]
    if boxed and not is_validation:
        chosen += examples(find_all(Path(boxed))[0])
    paths = sorted(path for path in Path(empty).iterdir() if path.suffix.lower() in SUFFIXES)
    paths = [path for n, path in enumerate(paths) if (n % HELD_OUT == 0) == is_validation]
    if not chosen or not paths:
        raise InputError(f"{empty if chosen else raw}: too few photos for the {split} scenes")
    return Material(chosen, [decode_photo(read_file(path)) for path in paths])


def validation(raw: Path) -> Iterator[Example]:
    """The photos of train that are held out, as long as they have a box."""
    source = find_source(raw, "train")
    held_out = held_out_names(source)
    return (example for example in examples(source) if example.name in held_out)


def held_out_names(source: Source) -> set[str]:
    """The photos of train that are kept for validation."""
    account = Account(source)
    lengths = {source.split: account.lengths()}
    chosen = choose_validation(lengths, VALIDATION_FRACTION, 0, DEFAULT_MAX_DIGITS)[source.split]
    return {one.name for one, is_chosen in zip(account.records, chosen, strict=True) if is_chosen}


def examples(source: Source) -> Iterator[Example]:
    """The photos of a source that have a box and can be decoded, in the order of storage."""
    records = {one.name: one for one in source.records() if isinstance(one, Record)}
    for photo in source.photos():
        record = records.get(photo.name)
        if photo.problem or not record or not len(record.boxes):
            continue
        try:
            decoded = decode_photo(photo.content)
        except ValueError:
            continue
        yield Example(photo.name, decoded, record.digits, digit_boxes(record))


def digit_boxes(record: Record) -> np.ndarray:
    """float[n, 4] of a record; the box of a whole number is divided by usual widths of digits."""
    boxes = np.concatenate([record.boxes[:, :2], record.boxes[:, :2] + record.boxes[:, 2:]], axis=1)
    if len(boxes) == len(record.digits):
        return boxes
    left, top = boxes[:, :2].min(axis=0)
    right, bottom = boxes[:, 2:].max(axis=0)
    widths = np.cumsum([0.0, *(natural_aspect((digit,)) for digit in record.digits)])
    edges = left + widths / widths[-1] * (right - left)
    count = len(record.digits)
    return np.stack([edges[:-1], np.full(count, top), edges[1:], np.full(count, bottom)], axis=1)
