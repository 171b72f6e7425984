"""What Ctrl-C and SIGTERM do to a command. Needs the standard library alone, so that a command can begin with it."""

import os
import signal
import threading
from typing import Any, NoReturn

MESSAGES = {signal.SIGINT: "interrupted", signal.SIGTERM: "ended by SIGTERM"}


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived; raised where `raise_interrupts` was called."""


def end_at_once() -> None:
    """From here on Ctrl-C and SIGTERM end the process at once: one line, and status 130 or 143.

    Neither default action is enough. A KeyboardInterrupt is lost where C code discards exceptions, as in the callbacks
    of JAX's garbage collection, and becomes another error within the import of an extension module. The kernel ignores
    SIGTERM in the first process of a container. A Python handler alone is not enough either: it runs only when the
    main thread leaves XLA, where it may wait for another process. So a thread also reads the pipe to which Python
    writes the number of every signal.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    is_ending = (
        threading.Lock()
    )  # never released: the first of thread and handler ends the process, the other waits

    def end(number: int, *_: Any) -> None:
        if is_ending.acquire(timeout=1):
            if os.isatty(1):
                os.write(
                    1, b"\x1b[?25h\n"
                )  # a progress bar hides the cursor, and leaves it on the bar's line
            os.write(2, f"error: {MESSAGES[signal.Signals(number)]}\n".encode())
        os._exit(128 + number)

    def listen() -> None:
        while (number := os.read(reading, 1)[0]) not in MESSAGES:
            pass
        end(number)

    signal.set_wakeup_fd(writing)
    for number in MESSAGES:
        signal.signal(number, end)
    threading.Thread(target=listen, daemon=True).start()


def raise_interrupts() -> None:
    """From here on Ctrl-C raises KeyboardInterrupt and the first SIGTERM Terminated, so that a command can clean up."""

    def terminate(*_: Any) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # another would end the clean-up
        raise Terminated

    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, terminate)
