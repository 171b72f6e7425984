"""Errors that a user can correct; svhn_jax.cli prints them as one line."""

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class InputError(Exception):
    """Bad input. The message is one line: the file, record or field, the fault, the remedy.

    details: more lines, one for each single fault.
    """

    def __init__(self, message: str, details: Sequence[str] = ()):
        super().__init__(message)
        self.details = tuple(details)


class CheckpointError(InputError):
    """A checkpoint could not be written or read."""


class TryAgainError(InputError):
    """A temporary failure, such as unreachable storage or a lost process of the run."""


@contextmanager
def naming_out_of_memory(batches: str) -> Iterator[None]:
    """Turns out-of-memory errors of the block into one line; `batches` names options to lower."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise InputError(f"out of memory ({one_line(error)}); lower the batch: {batches}") from None


def is_out_of_memory(error: Exception) -> bool:
    """Whether the machine or a device ran out of memory.

    Of JAX's errors alone: TensorStore reports a full disk as RESOURCE_EXHAUSTED.
    """
    is_of_jax = type(error).__name__ == "JaxRuntimeError"  # by name: JAX may not be imported
    return isinstance(error, MemoryError) or (is_of_jax and "RESOURCE_EXHAUSTED" in str(error))


def one_line(error: Exception) -> str:
    """The start of another library's error message, printable."""
    start = textwrap.shorten(str(error), 200, placeholder=" ...")
    return f"{type(error).__name__}: {printable(start)}"


def printable(text: str) -> str:
    """The first 200 characters, without control characters; for names found in files."""
    return "".join(character if character.isprintable() else "?" for character in text[:200])
