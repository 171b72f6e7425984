"""Errors a user can mend, and the one place that turns them into a line and an exit status."""

import errno
import os
import signal
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from svhn_jax import interrupts


class InputError(Exception):
    """Bad input. The message is one line: which file, record or field, what is wrong, the remedy.

    details: further lines, one for each of many things wrong.
    """

    def __init__(self, message: str, details: Sequence[str] = ()):
        super().__init__(message)
        self.details = tuple(details)


class UnfinishedError(InputError):
    """Work that stopped half-way, through no fault of its input: the same command goes on with what is done."""


class CheckpointError(InputError):
    """A checkpoint could not be written or read. Orbax and TensorStore may still be at it when this is told."""


class TryAgainError(InputError):
    """Something that may pass: storage that could not be reached, another process of the run that was lost."""


REMOTE_EXTRAS = {"gcsfs": "gcs", "google-cloud-storage": "gcs", "s3fs": "s3"}
EXIT_BAD_INPUT = 1
EXIT_TRY_AGAIN = 75  # EX_TEMPFAIL of sysexits.h
_is_one_of_many = False


def leave_at_once(is_one_of_many: bool) -> None:
    """Says whether this process is one of many: JAX would have it wait at its end for the others, in vain after an error."""
    global _is_one_of_many
    _is_one_of_many = is_one_of_many


def run_command(main: Callable[[], int | None]) -> None:
    """Runs `main` and exits: its status, or one line on stderr for what the user can mend.

    An OSError (no space, no permission, no such file) is the user's to mend too; any other
    exception is a bug of ours and keeps its traceback.
    """
    try:
        status = main()
        sys.stdout.flush()
    except TryAgainError as error:
        _exit(str(error), EXIT_TRY_AGAIN, at_once=True)
    except CheckpointError as error:
        _exit(str(error), EXIT_BAD_INPUT, at_once=True)
    except InputError as error:
        _exit(str(error), EXIT_BAD_INPUT, error.details)
    except BrokenPipeError:  # the reader of our output has gone, as in `... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_BAD_INPUT)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        remedy = "; free some where the output goes" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        _exit(f"{place}{error.strerror or error}{remedy}", EXIT_BAD_INPUT, at_once=bool(remedy))
    except ImportError as error:
        extras = [extra for name, extra in REMOTE_EXTRAS.items() if name in str(error)]
        if not extras:
            raise
        _exit(f"a bucket needs more packages ({error}): pip install 'svhn_jax[{extras[0]}]'", EXIT_BAD_INPUT)
    except KeyboardInterrupt as error:
        number = signal.SIGTERM if isinstance(error, interrupts.Terminated) else signal.SIGINT
        _exit(interrupts.MESSAGES[number], 128 + number)
    except Exception:
        if not _is_one_of_many:
            raise
        traceback.print_exc()
        os._exit(EXIT_BAD_INPUT)
    else:
        sys.exit(status or 0)


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory, of this machine or of a device, did not suffice.

    The class is compared by name, to import no JAX here. RESOURCE_EXHAUSTED in another error means something else:
    TensorStore's errors say so of a full disk.
    """
    is_of_jax = type(error).__name__ == "JaxRuntimeError"
    return isinstance(error, MemoryError) or (is_of_jax and "RESOURCE_EXHAUSTED" in str(error))


@contextmanager
def naming_out_of_memory(batches: str) -> Iterator[None]:
    """Within the block a lack of memory is told in one line; `batches` says which options set them."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise InputError(f"out of memory ({one_line(error)}); give smaller batches: {batches}") from None


def one_line(error: Exception) -> str:
    """The first whole words of another library's error, printable, for a line of ours."""
    return f"{type(error).__name__}: {printable(textwrap.shorten(str(error), 200, placeholder=' ...'))}"


def printable(text: str) -> str:
    """The text in at most 200 characters that no terminal takes for a command; for names found in files."""
    return "".join(character if character.isprintable() else "?" for character in text[:200])


def _exit(message: str, status: int, details: Sequence[str] = (), *, at_once: bool = False) -> None:
    sys.stdout.flush()
    for line in ("error: " + message, *details):
        words = " ".join(line.split())  # names of files may hold what a terminal takes for a command
        print("".join(one if one.isprintable() else "?" for one in words), file=sys.stderr, flush=True)
    if at_once or _is_one_of_many:  # no clean-up: it would try again, and fail again, in front of the user
        os._exit(status)
    sys.exit(status)
