"""The photos that a command line names: files, folders, patterns, and "-" for standard input."""

import glob
import os
import sys
from collections.abc import Sequence

from svhn_jax.data.photos import SUFFIXES, read_file, read_stream
from svhn_jax.errors import InputError

STDIN = "-"


def find(arguments: Sequence[str]) -> list[str]:
    """The photos that the arguments name, in their order; those of a folder or pattern sorted.

    Of a folder, the files with the suffix of a photo are read, not those of folders in it; of a
    pattern, the files that match it, each once. An argument without any photo is returned itself:
    `read` reports what is wrong with it.

    Raises:
      InputError: standard input is named twice.
    """
    if arguments.count(STDIN) > 1:
        raise InputError(f"{STDIN} stands twice; standard input holds one photo")
    return [photo for one in arguments for photo in _photos(one) or [one]]


def _photos(argument: str) -> list[str]:
    is_pattern = not os.path.lexists(argument)
    pattern = argument if is_pattern else os.path.join(glob.escape(argument), "*")
    paths = (path for path in sorted({*glob.glob(pattern, recursive=True)}))
    wanted = "" if is_pattern else SUFFIXES
    return [path for path in paths if not os.path.isdir(path) and path.lower().endswith(wanted)]


def read(name: str) -> bytes:
    """The bytes of a photo; links are followed. ValueError: why it cannot be read."""
    return read_stream(sys.stdin.buffer) if name == STDIN else read_file(name)
