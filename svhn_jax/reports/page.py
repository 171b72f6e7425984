"""One self-contained HTML page: sections of text, plots, tables and pictures. It loads nothing and runs no script."""

import base64
from collections.abc import Sequence
from importlib import resources
from typing import Any, NamedTuple

import jinja2
import numpy as np
from PIL import Image

from svhn_jax.data.pictures import png


class Table(NamedTuple):
    """A table; `text_columns` are the indices of columns that hold sentences."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    title: str = ""
    text_columns: tuple[int, ...] = ()


class Picture(NamedTuple):
    """A photo of a gallery. source: a data: URL; alt: what a person who cannot see it hears."""

    source: str
    alt: str
    caption: str
    note: str = ""
    is_wrong: bool = False


class Gallery(NamedTuple):
    """Pictures under a heading."""

    title: str
    photos: Sequence[Picture]


class Section(NamedTuple):
    """A part of the page, which the page's contents link to by `id`. Each plot is a heading and an <svg> element."""

    id: str
    title: str
    text: str = ""
    plots: Sequence[tuple[str, str]] = ()
    tables: Sequence[Table] = ()
    galleries: Sequence[Gallery] = ()
    code: str = ""


def render(
    title: str, subtitle: str, numbers: Sequence[tuple[str, str, str]], sections: Sequence[Section]
) -> str:
    """The page as HTML. All texts are escaped; only the plots' SVG is taken as it is.

    Args:
      numbers: the figures at the top: name, value, note.
    """
    template = resources.files("svhn_jax.reports").joinpath("page.html").read_text("utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(template).render(
        title=title, subtitle=subtitle, numbers=numbers, sections=list(sections)
    )


def picture_url(image: np.ndarray) -> str:
    """uint8[H, W, 3] as a data: URL of a PNG."""
    return (
        "data:image/png;base64,"
        + base64.b64encode(png(Image.fromarray(np.asarray(image)))).decode()
    )
