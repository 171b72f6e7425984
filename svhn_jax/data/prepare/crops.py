"""Crops photos, and writes each crop to its row of an images file. Runs in the worker processes."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from svhn_jax.data import crop, photos
from svhn_jax.data.writing import write_image

PHOTOS_PER_BLOCK, BYTES_PER_BLOCK = 64, 2**21
PHOTOS_PER_PROCESS = 1000  # starting a process takes as long as cropping so many


class Task(NamedTuple):
    """A photo to crop, and where the crop goes.

    Attributes:
      name: of the photo.
      problem: why the photo cannot be used; then the other fields are not.
      content: the photo's bytes.
      number: the box of the number in pixels; None for the whole photo.
      path: the images file.
      offset: of the crop's row in that file.
    """

    name: str
    problem: str
    content: bytes = b""
    number: crop.Box | None = None
    path: str = ""
    offset: int = 0


class Outcome(NamedTuple):
    """What became of a photo: its width and height in pixels if the crop was written, otherwise the problem."""

    name: str
    problem: str
    size: tuple[int, int] = (0, 0)


def blocks(tasks: Iterable[Task]) -> Iterator[list[Task]]:
    """Groups tasks by a number of photos or bytes, so that the photos in memory are few whatever their size."""
    block: list[Task] = []
    for task in tasks:
        block.append(task)
        if (
            len(block) == PHOTOS_PER_BLOCK
            or sum(len(one.content) for one in block) >= BYTES_PER_BLOCK
        ):
            yield block
            block = []
    if block:
        yield block


def crop_block(block: list[Task], *, margin: float, size: int) -> list[Outcome]:
    """Crops the photos of a block, in their order; margin and size as in svhn_jax.data.crop.crop_number."""
    return [_crop(task, margin, size) for task in block]


def _crop(task: Task, margin: float, size: int) -> Outcome:
    if task.problem:
        return Outcome(task.name, task.problem)
    try:
        photo = photos.decode_photo(task.content)
        image = crop.crop_number(photo, task.number, margin=margin, size=size)
    except ValueError as error:
        return Outcome(task.name, str(error))
    write_image(task.path, task.offset, image)
    return Outcome(task.name, "", photo.size)
