"""Which errors of reading a checkpoint mean damage, and which messages of Orbax are dropped."""

import errno
import logging
import sys
from typing import Any

import jax

from svhn_jax.errors import TryAgainError, one_line


def quieten_orbax() -> None:
    """Drops Orbax's log lines, about fifty a save. Errors still reach the caller."""
    for chatty in ("absl", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.CRITICAL)
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _without_late_answers


def _without_late_answers(unraisable: Any) -> None:
    """A sys.unraisablehook that drops one message: threads of TensorStore report to a save that has already failed."""
    if str(unraisable.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(unraisable)


def raise_unless_damage(error: Exception, place: str) -> None:
    """Raises TryAgainError if reading `place` failed for another reason than damage."""
    if not _is_damage(error):
        raise TryAgainError(
            f"{place}: could not be read just now; check the storage, then run the same command again ({one_line(error)})"
        ) from None


def _is_damage(error: BaseException) -> bool:
    """Whether the checkpoint itself may have caused the error: not storage, memory or a device."""
    words = (
        "RESOURCE_EXHAUSTED",
        "PERMISSION_DENIED",
        "UNAVAILABLE",
        "DEADLINE_EXCEEDED",
        "UNAUTHENTICATED",
    )
    if isinstance(error, MemoryError | jax.errors.JaxRuntimeError) or any(
        word in str(error) for word in words
    ):
        return False
    if isinstance(error, OSError) and error.errno not in (
        None,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EISDIR,
    ):
        return False
    return error.__cause__ is None or _is_damage(
        error.__cause__
    )  # Orbax and TensorStore raise errors from others
