"""The photos that a command line names: files, folders, patterns, and "-" for standard input."""

import glob
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from svhn_jax.data.photos import SUFFIXES, leads_out, read_file, read_stream
from svhn_jax.errors import InputError

STDIN = "-"


class Named(NamedTuple):
    """What is to be read.

    name: the path of a photo, or STDIN; with a problem, the argument or the folder that has it.
    folder: the folder that the user named; "" if the user named the photo itself, or by a pattern.
    problem: why there is nothing to read, such as "no file matches this pattern"; else "".
    """

    name: str
    folder: str = ""
    problem: str = ""


def find(arguments: Sequence[str]) -> list[Named]:
    """The photos that the arguments name, in their order; those of a folder or pattern sorted.

    Of a folder, the files with the suffix of a photo are read, not those of folders in it; of a
    pattern, the files that match it, each once. What cannot be found is listed with its problem.

    Raises:
      InputError: standard input is named twice.
    """
    if arguments.count(STDIN) > 1:
        raise InputError(f"{STDIN} stands twice; standard input holds one photo")
    return [photo for argument in arguments for photo in _photos(argument)]


def _photos(argument: str) -> list[Named]:
    if os.path.isdir(argument):
        return _photos_of(argument)
    if not glob.has_magic(argument) or os.path.lexists(argument):
        return [Named(argument)]  # `read` finds what is wrong
    matches = sorted({one for one in glob.glob(argument, recursive=True) if not os.path.isdir(one)})
    return [*map(Named, matches)] or [Named(argument, problem="no file matches this pattern")]


def _photos_of(folder: str) -> list[Named]:
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        return [Named(folder, problem=(error.strerror or str(error)).lower())]
    photos = [
        Named(os.path.join(folder, name), folder)
        for name in names
        if name.lower().endswith(SUFFIXES)
        and not name.startswith(".")  # macOS leaves ._NAME beside NAME
        and not os.path.isdir(os.path.join(folder, name))
    ]
    return photos or [Named(folder, problem="no photo in this folder; give one that holds photos")]


def read(photo: Named) -> bytes:
    """The bytes of a photo. A link that leads out of a folder is not followed; one that is named is.

    Raises:
      ValueError: why it cannot be read.
    """
    if photo.problem:
        raise ValueError(photo.problem)
    if photo.name == STDIN:
        return read_stream(sys.stdin.buffer)
    if photo.folder and leads_out(photo.folder, photo.name):
        raise ValueError("a link that leads out of the folder; name it itself to have it read")
    return read_file(Path(photo.name))
