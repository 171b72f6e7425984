"""One side of against_pytorch.py in a process of its own."""

import importlib
import multiprocessing
from multiprocessing.connection import Connection
from typing import Any

from svhn_jax.errors import InputError

CHECK_STEPS = 3


class Worker:
    """A process that holds `Side(options)` of a module here. about: what the side is."""

    def __init__(self, module: str, options: dict[str, Any]):
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(module, options, theirs))
        self._process.start()
        theirs.close()
        self.about = self.do("about")

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.join()

    def do(self, method: str, *arguments: Any, limit_s: float | None = None) -> Any:
        """Calls a method of the side.

        Raises:
          InputError: it failed, or took longer than `limit_s`, which ends the process.
        """
        try:
            self._pipe.send((method, arguments))
            if not self._pipe.poll(limit_s):
                self._process.kill()
                raise InputError(f"{method}: no answer in {limit_s} s")
            answer = self._pipe.recv()
        except (EOFError, OSError):
            raise InputError(f"{method}: the process ended; its error is above") from None
        if isinstance(answer, Exception):
            raise InputError(f"{method}: {type(answer).__name__}: {answer}")
        return answer


def _serve(module: str, options: dict[str, Any], pipe: Connection) -> None:
    side = importlib.import_module(module).Side(options)
    while True:
        method, arguments = pipe.recv()
        try:
            answer = getattr(side, method)(*arguments)
        except Exception as error:
            answer = RuntimeError(f"{type(error).__name__}: {error}"[:500])
        pipe.send(answer)
