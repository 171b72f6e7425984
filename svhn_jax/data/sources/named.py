"""The photos that a command line names: files, folders, patterns, and "-" for standard input."""

import glob
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

from svhn_jax.data.photos import SUFFIXES, read_file, read_stream
from svhn_jax.errors import InputError

STDIN = "-"


class Named(NamedTuple):
    """A path of a photo, or STDIN; folder: where it was found, if the user named a folder."""

    name: str
    folder: str = ""


def find(arguments: Sequence[str]) -> list[Named]:
    """The photos that the arguments name, in their order; those of a folder or pattern sorted.

    Of a folder, the files with the suffix of a photo are read, not those of folders in it; of a
    pattern, the files that match it, each once. An argument without any photo is returned itself:
    `read` reports what is wrong with it.

    Raises:
      InputError: standard input is named twice.
    """
    if arguments.count(STDIN) > 1:
        raise InputError(f"{STDIN} stands twice; standard input holds one photo")
    return [photo for one in arguments for photo in _photos(one) or [Named(one)]]


def _photos(argument: str) -> list[Named]:
    is_pattern = not os.path.lexists(argument)
    pattern = argument if is_pattern else os.path.join(glob.escape(argument), "*")
    paths = glob.glob(pattern, recursive=True)
    files = (path for path in sorted(set(paths)) if not os.path.isdir(path))
    if is_pattern:
        return [Named(path) for path in files]
    return [Named(path, argument) for path in files if path.lower().endswith(SUFFIXES)]


def read(photo: Named) -> bytes:
    """The bytes of a photo. A link out of a folder is not followed; a link that is named is.

    Raises:
      ValueError: why it cannot be read.
    """
    return read_stream(sys.stdin.buffer) if photo.name == STDIN else read_file(*photo)
