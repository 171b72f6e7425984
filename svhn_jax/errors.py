"""Errors that a user can correct, and the function that turns them into one line and an exit status."""

import errno
import io
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

    details: more lines, one for each single error.
    """

    def __init__(self, message: str, details: Sequence[str] = ()):
        super().__init__(message)
        self.details = tuple(details)


class UnfinishedError(InputError):
    """Work stopped without an error in its input; the same command can resume it."""


class CheckpointError(InputError):
    """A checkpoint could not be written or read. Threads of Orbax and TensorStore may still be running."""


class TryAgainError(InputError):
    """A temporary failure, such as unreachable storage or a lost process of the run."""


REMOTE_EXTRAS = {"gcsfs": "gcs", "google-cloud-storage": "gcs", "s3fs": "s3"}
FREE_SPACE = "; free some space in the output folder"
REMEDIES = {  # for what the system reports
    errno.ENOSPC: FREE_SPACE,
    errno.EDQUOT: FREE_SPACE,
    errno.EACCES: "; give a path that you may use, or change the permissions of it and its folder",
    errno.EPERM: "; give a path that you may use, or change the permissions of it and its folder",
    errno.EROFS: "; give a path on another file system",
    errno.ENOENT: "; check the path",
    errno.ENOTDIR: "; check the path",
    errno.EISDIR: "; give the path of a file",
    errno.ENAMETOOLONG: "; give a shorter name",
    errno.EFBIG: "; give a path on another file system, or raise the limit of file sizes (ulimit -f)",
}
EXIT_BAD_INPUT = 1
EXIT_TRY_AGAIN = 75  # EX_TEMPFAIL of sysexits.h
_is_one_of_many = False


def leave_at_once(is_one_of_many: bool) -> None:
    """Sets whether this process is one of many. After an error it then exits at once, or JAX would wait for the others."""
    global _is_one_of_many
    _is_one_of_many = is_one_of_many


def _make_streams_usable() -> None:
    """Standard streams that were closed become empty ones; letters that the terminal's encoding lacks are escaped."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115
        elif mode == "w" and isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def run_command(main: Callable[[], int | None]) -> None:
    """Runs `main` and exits with its status, or with one line on stderr for an error that the user can correct.

    The user can also correct an OSError (no space, no permission, no such file). Any other exception is a
    bug and keeps its traceback.
    """
    _make_streams_usable()
    try:
        status = main()
        sys.stdout.flush()
    except TryAgainError as error:
        _exit(str(error), EXIT_TRY_AGAIN, at_once=True)
    except CheckpointError as error:
        _exit(str(error), EXIT_BAD_INPUT, at_once=True)
    except InputError as error:
        _exit(str(error), EXIT_BAD_INPUT, error.details)
    except BrokenPipeError:  # the reader of the output has ended, as in `... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_BAD_INPUT)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        remedy = REMEDIES.get(error.errno or 0, "")
        _exit(
            f"{place}{error.strerror or error}{remedy}",
            EXIT_BAD_INPUT,
            at_once=remedy == FREE_SPACE,
        )
    except ImportError as error:
        extras = [extra for name, extra in REMOTE_EXTRAS.items() if name in str(error)]
        if not extras:
            raise
        _exit(
            f"a bucket needs more packages ({error}): pip install 'svhn_jax[{extras[0]}]'",
            EXIT_BAD_INPUT,
        )
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
    """Whether the machine or a device ran out of memory.

    Compares the class by name, in order not to import JAX. In other errors RESOURCE_EXHAUSTED has other meanings:
    TensorStore reports a full disk so.
    """
    is_of_jax = type(error).__name__ == "JaxRuntimeError"
    return isinstance(error, MemoryError) or (is_of_jax and "RESOURCE_EXHAUSTED" in str(error))


@contextmanager
def naming_out_of_memory(batches: str) -> Iterator[None]:
    """Turns out-of-memory errors of the block into one line; `batches` names the options that set the batch sizes."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise InputError(
            f"out of memory ({one_line(error)}); give smaller batches: {batches}"
        ) from None


def one_line(error: Exception) -> str:
    """The start of another library's error message, printable, for use in one line."""
    return f"{type(error).__name__}: {printable(textwrap.shorten(str(error), 200, placeholder=' ...'))}"


def printable(text: str) -> str:
    """The first 200 characters, without control characters for a terminal; for names found in files."""
    return "".join(character if character.isprintable() else "?" for character in text[:200])


def print_to_stderr(line: str) -> None:
    """Prints one line, whatever --quiet and --json say."""
    words = " ".join(line.split())  # file names may have control characters
    print("".join(one if one.isprintable() else "?" for one in words), file=sys.stderr, flush=True)


def _exit(message: str, status: int, details: Sequence[str] = (), *, at_once: bool = False) -> None:
    sys.stdout.flush()
    for line in ("error: " + message, *details):
        print_to_stderr(line)
    if at_once or _is_one_of_many:  # no clean-up: it would fail again, with more messages
        os._exit(status)
    sys.exit(status)
