"""Draws photos with what is read in them, each into a file of its own in one folder."""

import re
from pathlib import Path

from PIL import Image

from svhn_jax import files
from svhn_jax.data import pictures
from svhn_jax.data.sources.named import STDIN
from svhn_jax.errors import printable
from svhn_jax.inference.reading_tables import CHECK, Row

LONGEST_NAME = 50  # characters; a file name has at most 255 bytes


class Drawer:
    """Writes one PNG file for each photo into a folder; two photos of one name get different files."""

    def __init__(self, folder: Path):
        """Creates the folder if it does not exist."""
        with files.naming(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._used: set[str] = set()
        self._counts: dict[str, int] = {}

    def draw(self, photo: Image.Image, row: Row) -> Path:
        """Writes the picture of a photo, upright and RGB; returns its path."""
        picture = pictures.annotated(
            photo,
            row.reading.box,
            row.reading.shown,
            f"{row.reading.confidence:.1%}" + (f", {CHECK}" if row.is_doubtful else ""),
            printable(row.file)
            .encode("ascii", "replace")
            .decode(),  # the font has no other letters
            color=pictures.WRONG if row.is_doubtful else pictures.RIGHT,
        )
        path = self._folder / f"{self._name(row.file)}.png"
        files.write_bytes(
            path, pictures.png(picture, compress_level=1)
        )  # the default level takes five times as long
        return path

    def _name(self, file: str) -> str:
        """The photo's name without folder and suffix; with a number where another photo, or a file in the folder, has it."""
        stem = "stdin" if file == STDIN else Path(file).stem
        stem = re.sub(r"[^\w.-]", "_", stem).lstrip(".-")[:LONGEST_NAME] or "photo"
        name = stem
        while name.lower() in self._used or (self._folder / f"{name}.png").exists():
            self._counts[stem] = self._counts.get(stem, 1) + 1
            name = f"{stem}-{self._counts[stem]}"
        self._used.add(name.lower())
        return name
