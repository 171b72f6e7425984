"""Runs a command and measures it: wall time, processor time, and the memory of its whole process tree."""

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from svhn_jax.errors import InputError

SAMPLE_S = 0.05
PSS_EVERY_SAMPLES = 4  # the kernel walks all pages for it, which takes milliseconds


@dataclass
class Measurement:
    """What a command took; memory in bytes, at its peak.

    tree_rss: the sum over its processes of all memory they can touch, shared pages counted for each;
    tree_pss: the same with shared pages counted once, pages of files that the kernel could drop included;
    tree_anonymous: memory that no file stands behind; largest_rss: the largest of its processes.
    """

    seconds: float
    cpu_seconds: float = 0.0
    tree_rss: int = 0
    tree_pss: int = 0
    tree_anonymous: int = 0
    largest_rss: int = 0
    processes: int = 0
    output: str = ""


def run(command: Sequence[str | Path]) -> Measurement:
    """Runs `python COMMAND`, which must succeed; its memory is sampled every 50 ms.

    Raises:
      InputError: the command failed; its last words.
    """
    measured = Measurement(0.0)
    cpu_before = _cpu_seconds_of_children()
    with tempfile.TemporaryFile("w+") as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *map(str, command)], stdout=output, stderr=subprocess.STDOUT
        )
        try:
            for sample in count():
                with suppress(subprocess.TimeoutExpired):
                    process.wait(SAMPLE_S)
                    break
                _sample(process.pid, measured, with_pss=sample % PSS_EVERY_SAMPLES == 0)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
        measured.seconds = time.perf_counter() - start
        output.seek(0)
        measured.output = output.read().strip()
    measured.cpu_seconds = _cpu_seconds_of_children() - cpu_before
    if process.returncode:
        raise InputError(
            f"{' '.join(map(str, command))}: status {process.returncode}: {measured.output[-500:]}"
        )
    return measured


def _cpu_seconds_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _sample(pid: int, measured: Measurement, *, with_pss: bool) -> None:
    pids = _tree(pid)
    sizes = [_kilobytes(f"/proc/{pid}/status", ("VmRSS:",))[0] for pid in pids]
    measured.processes = max(measured.processes, len(pids))
    measured.tree_rss = max(measured.tree_rss, 1024 * sum(sizes))
    measured.largest_rss = max(measured.largest_rss, 1024 * max(sizes))
    if with_pss:
        pss, anonymous = zip(
            *(_kilobytes(f"/proc/{pid}/smaps_rollup", ("Pss:", "Pss_Anon:")) for pid in pids),
            strict=True,
        )
        measured.tree_pss = max(measured.tree_pss, 1024 * sum(pss))
        measured.tree_anonymous = max(measured.tree_anonymous, 1024 * sum(anonymous))


def _tree(pid: int) -> list[int]:
    """A process and all its descendants."""
    found = [pid]
    for parent in found:
        with suppress(OSError):  # it has ended since
            for task in Path(f"/proc/{parent}/task").iterdir():
                with suppress(OSError):
                    found += map(int, (task / "children").read_text().split())
    return found


def _kilobytes(path: str, fields: tuple[str, ...]) -> list[int]:
    """Fields of a file of /proc; zeros for a process that has ended."""
    values = dict.fromkeys(fields, 0)
    with suppress(OSError), open(path) as lines:
        for line in lines:
            name, *value = line.split()
            if name in values:
                values[name] = int(value[0])
    return list(values.values())
