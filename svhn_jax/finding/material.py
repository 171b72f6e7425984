"""What scenes are made of: photos with the box of their number, and parts of photos without a number."""

import functools
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from svhn_jax.data.accounting import Account
from svhn_jax.data.crop import Box, union
from svhn_jax.data.photos import decode_photo
from svhn_jax.data.prepare.assign import choose_validation
from svhn_jax.data.records import Record
from svhn_jax.data.sources.find import Source, find_all, find_source
from svhn_jax.errors import InputError
from svhn_jax.labels import DEFAULT_MAX_DIGITS

# Of train; drawn as svhn_jax.preprocess --validation-fraction 0.2 draws it: the reader's validation split.
VALIDATION_FRACTION = 0.2
HELD_OUT = 10  # of the boxed photos, one in so many is not trained on
CLEAR = 0.3  # of the number's height: how far a patch stays away from the number
LEAST_PATCH = 12  # pixels, of both sides


class Example(NamedTuple):
    """An upright RGB photo, the union of its digits' boxes, and its number as text."""

    name: str
    photo: Image.Image
    box: Box
    number: str


class Material(NamedTuple):
    """What training scenes are made of."""

    examples: list[Example]
    patches: list[Image.Image]


@functools.cache
def training(raw: Path, boxed: Path | None) -> Material:
    """The training part of train, and of a folder of boxed photos (svhn_jax.box). Cached, for worker processes."""
    chosen = [example for example, is_held_out in train_examples(raw) if not is_held_out]
    if boxed:
        [source] = find_all(boxed)
        chosen += [one for index, one in enumerate(examples(source)) if index % HELD_OUT]
    if not chosen:
        raise InputError(f"{raw}: no photo with a box to train on")
    return Material(chosen, [patch for one in chosen for patch in patches_of(one)])


def validation(raw: Path) -> Generator[Example, None, None]:
    """The photos of train that are held out; InputError, after the last photo, if there is none."""
    count = 0
    for example, is_held_out in train_examples(raw):
        if is_held_out:
            count += 1
            yield example
    if not count:
        raise InputError(
            f"{raw}: none of the photos held out for validation, {VALIDATION_FRACTION:.0%} of train for each length, has a box; "
            "give more photos, with boxes"
        )


def require_validation(raw: Path) -> None:
    """Raises InputError if `validation` yields no photo."""
    with closing(validation(raw)) as held_out:
        next(held_out)


def train_examples(raw: Path) -> Iterator[tuple[Example, bool]]:
    """The photos of train, and whether each is held out for validation."""
    source = find_source(raw, "train")
    account = Account(source)
    lengths = {source.split: account.lengths()}
    chosen = choose_validation(lengths, VALIDATION_FRACTION, 0, DEFAULT_MAX_DIGITS)[source.split]
    held_out = {
        record.name for record, is_chosen in zip(account.records, chosen, strict=True) if is_chosen
    }
    for example in examples(source):
        yield example, example.name in held_out


def examples(source: Source) -> Iterator[Example]:
    """The photos of a source that have a box and can be decoded, in the order of storage."""
    records = {one.name: one for one in source.records() if isinstance(one, Record)}
    for photo in source.photos():
        record = records.get(photo.name)
        box = union(record.boxes) if record else None
        if photo.problem or not record or not box:
            continue
        try:
            decoded = decode_photo(photo.content)
        except ValueError:
            continue
        yield Example(photo.name, decoded, box, "".join(map(str, record.digits)))


def patches_of(example: Example) -> list[Image.Image]:
    """The parts of a photo to the left of its number, right of it, above and below it."""
    photo, box = example.photo, example.box
    clear = CLEAR * (box.bottom - box.top)
    left, top = min(photo.width, int(box.left - clear)), min(photo.height, int(box.top - clear))
    right, bottom = max(0, int(box.right + clear)), max(0, int(box.bottom + clear))
    parts = [
        (0, 0, left, photo.height),
        (right, 0, photo.width, photo.height),
        (0, 0, photo.width, top),
        (0, bottom, photo.width, photo.height),
    ]
    return [
        photo.crop(part)
        for part in parts
        if min(part[2] - part[0], part[3] - part[1]) >= LEAST_PATCH
    ]
