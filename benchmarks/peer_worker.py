"""The processes of benchmarks/against_pytorch.py: one for each side, which trains when a line of JSON tells it to."""

import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from svhn_jax.errors import InputError

CHECK_STEPS = 3
HERE = Path(__file__).parent


class Worker:
    """A process that runs one side's script. `metadata`: what the side says of itself."""

    def __init__(self, script: str, options: dict[str, Any], env: Mapping[str, str] | None = None):
        """Starts the process and has it make its network.

        Args:
          script: of this folder.
          options: of the side, JSON values.
          env: variables that are set for this process beside those of ours.
        """
        memory = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}  # all sides share one GPU's memory
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | memory | dict(env or {}),
        )
        try:
            self.metadata = self.do("start", options)
        except InputError:
            self.end()
            raise

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    def end(self) -> None:
        """Ends the process."""
        self._process.kill()
        with suppress(BrokenPipeError), self._process:  # closes its pipes, and waits
            pass

    def do(self, what: str, *arguments: Any, limit_s: float | None = None) -> Any:
        """Sends a command and waits for its answer.

        Raises:
          InputError: the process ended, or gave no answer in `limit_s`, after which it is ended.
        """
        assert self._process.stdin
        assert self._process.stdout
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps({"do": what, "with": arguments}) + "\n")
            self._process.stdin.flush()
        if limit_s and not select.select([self._process.stdout], [], [], limit_s)[0]:
            self.end()
            raise InputError(f"{what}: no answer in {limit_s:.0f} s")
        if line := self._process.stdout.readline():
            return json.loads(line)
        status = self._process.wait()
        raise InputError(
            f"{what}: a side of the comparison ended with status {status}; its error is above"
        )


def serve(make_side: Callable[[dict[str, Any]], Any]) -> None:
    """Answers each line {"do": a method of the side, "with": its arguments}, the first of them "start", until stdin ends.

    What libraries print goes to stderr.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    side: Any = None
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "start":
            side = make_side(*command["with"])
            answer = side.metadata()
        else:
            answer = getattr(side, command["do"])(*command["with"])
        print(json.dumps(answer), file=answers, flush=True)
