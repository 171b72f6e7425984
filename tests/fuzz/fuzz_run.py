"""Runs the command on one input, in a process of its own, as a user would, and measures it."""

import ctypes
import gc
import json
import os
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from fuzz_scene import Scene

from svhn_jax import errors, preprocess

LIMIT_S = 10.0
ADDRESS_SPACE_BYTES = 2**33  # to protect the machine; the limit on memory is another
PRCTL_DROP_CAPABILITY, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2
CAPABILITY_VERSION = 0x20080522


@dataclass(frozen=True)
class Run:
    """What became of a command: its exit status, or minus the signal it died of, what it printed, and what it took.

    megabytes: the peak of its own memory and of the largest of its children together.
    """

    status: int
    stdout: str
    stderr: str
    seconds: float
    megabytes: float
    is_late: bool


def run(scene: Scene, log: Path) -> Run:
    """Runs the command on a scene; `log` is a folder for what it prints, outside the scene's."""
    log.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    if not (pid := os.fork()):
        _be_the_command(scene, log)
    process = os.pidfd_open(pid)
    try:
        is_late = not select.select([process], [], [], LIMIT_S)[0]
        if is_late:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _, status, usage = os.wait4(pid, 0)
        seconds = time.perf_counter() - start
    finally:
        os.close(process)
        with suppress(ProcessLookupError):  # what it may have left running
            os.killpg(pid, signal.SIGKILL)
    kilobytes = usage.ru_maxrss
    with suppress(OSError, ValueError):
        kilobytes = sum(json.loads((log / "kilobytes").read_text()))
        (log / "kilobytes").unlink()
    stdout, stderr = (
        (log / name).read_text(errors="backslashreplace") for name in ("stdout", "stderr")
    )
    return Run(
        os.waitstatus_to_exitcode(status), stdout, stderr, seconds, kilobytes / 1024, is_late
    )


def _be_the_command(scene: Scene, log: Path) -> NoReturn:
    """Never returns: this process, a copy of the one that has everything imported, becomes the command."""
    status = 70
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES))
        for number, name in ((1, "stdout"), (2, "stderr")):
            file = os.open(log / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, number)
        os.chdir(scene.folder)
        os.environ["TMPDIR"], tempfile.tempdir = str(scene.tmp), None
        sys.argv = [
            "preprocess",
            "--raw",
            str(scene.raw),
            "--to",
            str(scene.to),
            "--jobs",
            "1",
            *scene.options,
        ]
        sys.modules["__main__"] = preprocess  # what processes it starts will import
        warnings.filterwarnings("default", append=True)  # forgets which warnings were shown before
        if scene.without_privileges and os.geteuid() == 0:
            heed_permissions()
        status = _status()
        sys.stdout.flush()
        sizes = [
            resource.getrusage(who).ru_maxrss
            for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        ]
        (log / "kilobytes").write_text(json.dumps(sizes))
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _status() -> int:
    try:
        errors.run_command(preprocess.main)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
        status = 1
    else:
        status = 0
    gc.collect()  # what would complain at the interpreter's end does so now
    return status


def heed_permissions() -> None:
    """Gives up what lets root read and write every file."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    sets = (
        ctypes.c_uint32 * 6
    )()  # effective, permitted, inheritable; and once more for the upper half
    if libc.capget(header, sets):
        raise OSError(ctypes.get_errno(), "capget")
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        libc.prctl(PRCTL_DROP_CAPABILITY, capability, 0, 0, 0)
        for index in range(3):
            sets[index] &= ~(1 << capability)
    if libc.capset(header, sets):
        raise OSError(ctypes.get_errno(), "capset")
