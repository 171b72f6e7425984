"""Draws photos with what is read in them, each into a file of its own in one folder."""

import re
from pathlib import Path

from PIL import Image

from svhn_jax import files
from svhn_jax.data import pictures
from svhn_jax.data.sources.named import STDIN
from svhn_jax.errors import printable
from svhn_jax.inference.reading import Row

LONGEST_NAME = 50  # characters; a file name has at most 255 bytes


def draw(folder: Path, photo: Image.Image, row: Row) -> Path:
    """Writes the picture of an upright RGB photo to NAME.png, or NAME-2.png and so on.

    Returns its path. No file is replaced.
    """
    text = f"{row.reading.confidence:.1%}" + (f", {row.check}" if row.check else "")
    picture = pictures.annotated(
        photo,
        row.reading.box,
        row.reading.shown,
        text,
        printable(row.file).encode("ascii", "replace").decode(),  # the font has no other letters
        color=pictures.WRONG if row.is_doubtful else pictures.RIGHT,
    )
    folder.mkdir(parents=True, exist_ok=True)
    stem = "stdin" if row.file == STDIN else Path(row.file).stem
    stem = re.sub(r"[^\w.-]", "_", stem).lstrip(".-")[:LONGEST_NAME] or "photo"
    path, count = folder / f"{stem}.png", 1
    while path.exists():
        count += 1
        path = folder / f"{stem}-{count}.png"
    files.write_bytes(path, pictures.png(picture, compress_level=1))  # the default is slow
    return path
