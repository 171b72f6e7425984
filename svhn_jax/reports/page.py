"""One self-contained HTML page of text, plots, tables and pictures; it runs no script.

Every function returns HTML. Texts are escaped.
"""

import base64
from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources
from string import Template
from typing import Any

import numpy as np
from PIL import Image

from svhn_jax.data.pictures import png

Numbers = Sequence[tuple[str, str, str]]
Section = tuple[str, str, Iterable[str]]  # title, text, and HTML of the functions below


def render(title: str, subtitle: str, numbers: Numbers, sections: Sequence[Section]) -> str:
    """The whole page; numbers: the figures at the top: name, value, note."""
    figures = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(note)}</small></dd></div>\n"
        for name, value, note in numbers
    )
    parts = "".join(
        f"<section><h2>{escape(name)}</h2><p>{escape(text)}</p>{''.join(html)}</section>\n"
        for name, text, html in sections
    )
    template = resources.files("svhn_jax.reports").joinpath("page.html").read_text("utf-8")
    texts = {"title": escape(title), "subtitle": escape(subtitle)}
    return Template(template).substitute(texts, numbers=figures, sections=parts)


def plots(charts: Iterable[tuple[str, str]]) -> str:
    """Charts side by side: a heading and the SVG text of each."""
    figures = (
        f"<figure><h3>{escape(name)}</h3>{_image('svg+xml', svg.encode(), name)}</figure>"
        for name, svg in charts
    )
    return f'<div class="plots">{"".join(figures)}</div>'


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    cells = ("".join(f"<td>{escape(str(cell))}</td>" for cell in row) for row in rows)
    body = "".join(f"<tr>{row}</tr>\n" for row in cells)
    return f'<div class="scroll"><table><tr>{head}</tr>\n{body}</table></div>'


def gallery(title: str, pictures: Iterable[str]) -> str:
    return f'<h3>{escape(title)}</h3><div class="photos">{"".join(pictures)}</div>'


def picture(image: np.ndarray, caption: str, note: str, *, is_wrong: bool = False) -> str:
    """uint8[H, W, 3] with its number and name; is_wrong: the caption is red."""
    mark = ' class="wrong"' if is_wrong else ""
    return (
        f"<figure>{_image('png', png(Image.fromarray(np.asarray(image))), note)}"
        f"<b{mark}>{escape(caption)}</b><br>{escape(note)}</figure>\n"
    )


def _image(kind: str, content: bytes, name: str) -> str:
    data = base64.b64encode(content).decode()
    return f'<img src="data:image/{kind};base64,{data}" alt="{escape(name)}">'
