"""Clocks, power and memory of an NVIDIA GPU while something runs, as nvidia-smi tells them."""

import os
import subprocess
import tempfile
from contextlib import suppress
from statistics import median
from typing import Any

FIELDS = (
    "clocks.sm",
    "clocks.mem",
    "power.draw",
    "temperature.gpu",
    "memory.used",
    "utilization.gpu",
)
NAMES = (
    "sm_clock_mhz",
    "memory_clock_mhz",
    "power_w",
    "temperature_c",
    "memory_used_mib",
    "utilization_percent",
)
EVERY_MS = 500
BUSY_PERCENT = 50


class GpuMonitor:
    """Asks nvidia-smi twice a second inside the block; `summary` tells what it said. Nothing where there is no nvidia-smi."""

    def __enter__(self) -> "GpuMonitor":
        self._lines = tempfile.TemporaryFile("w+")
        gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0] or "0"
        query = f"--query-gpu={','.join(FIELDS)}"
        command = [
            "nvidia-smi",
            f"--id={gpu}",
            query,
            "--format=csv,noheader,nounits",
            f"--loop-ms={EVERY_MS}",
        ]
        self._process = None
        with suppress(OSError):
            self._process = subprocess.Popen(command, stdout=self._lines, stderr=subprocess.DEVNULL)
        return self

    def __exit__(self, *error: object) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait()
        with self._lines:
            self._lines.seek(0)
            self._said = self._lines.read()

    def summary(self) -> dict[str, Any]:
        """After the block: see `summarize`."""
        return summarize(self._said)


def summarize(text: str) -> dict[str, Any]:
    """The median, least and greatest of each value, of the samples in which the GPU was busy; empty without samples.

    Args:
      text: lines of nvidia-smi. Values that a GPU does not tell ("[N/A]") are left out.
    """
    rows = [[_number(cell) for cell in line.split(",")] for line in text.splitlines()]
    rows = [row for row in rows if len(row) == len(NAMES)]
    rows = [row for row in rows if row[-1] is not None and row[-1] >= BUSY_PERCENT] or rows
    found: dict[str, Any] = {"samples": len(rows)} if rows else {}
    for name, column in zip(NAMES, zip(*rows, strict=True), strict=False):
        if values := [value for value in column if value is not None]:
            found[name] = {"median": median(values), "low": min(values), "high": max(values)}
    return found


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None
