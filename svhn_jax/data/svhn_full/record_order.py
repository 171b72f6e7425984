"""Puts photos into the order of their records."""

import os
import tempfile
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from svhn_jax.data.records import Photo


def in_order_of(names: Collection[str], photos: Iterable[Photo], folder: Path) -> Iterator[Photo]:
    """Yields photos in the order of `names`; each name has at most one photo.

    Published archives have that order already. A photo that comes too early waits in a temporary file in
    `folder`, not in memory.
    """
    waiting: dict[str, tuple[int, int]] = {}
    with tempfile.TemporaryFile(dir=folder) as file:

        def recall(name: str) -> Photo:
            start, size = waiting.pop(name)
            file.seek(start)
            return Photo(name, file.read(size))

        order = deque(names)
        for photo in photos:
            if photo.name == order[0]:
                order.popleft()
                yield photo
            else:
                waiting[photo.name] = (file.seek(0, os.SEEK_END), len(photo.content))
                file.write(photo.content)
            while order and order[0] in waiting:
                yield recall(order.popleft())
        yield from (recall(name) for name in order if name in waiting)
