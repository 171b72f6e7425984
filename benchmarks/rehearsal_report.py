"""What a rehearsal says: the machine it ran on, and its figures as tables."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import svhn_jax

Figures = dict[str, Any]


def machine() -> Figures:
    """Hardware, versions and date."""
    cpus = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in line
    ]
    memory_kb = int(Path("/proc/meminfo").read_text().split()[1])
    return {
        "cpu": cpus[0] if cpus else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(memory_kb / 1e6, 1),
        "load_at_start": os.getloadavg()[0],
        "niceness": os.nice(0),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {"svhn_jax": svhn_jax.__version__}
        | {name: version(name) for name in ("numpy", "h5py", "pillow")},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def print_figures(console: Console, figures: Figures) -> None:
    """Tables of the stages and the alternatives, and what follows from both."""
    machine = figures["machine"]
    stages = Table(
        title=f"{sum(figures['photos'].values()):,} photos; {machine['cpu']}, {machine['cores']} cores"
    )
    _add_columns(
        stages,
        "stage",
        "amount",
        "seconds",
        "per second",
        "CPU s",
        "MB of all",
        "MB shared once",
        "MB largest",
    )
    for name, stage in figures["stages"].items():
        memory = (f"{stage[f'{field}_mb']:,}" for field in ("tree_rss", "tree_pss", "largest_rss"))
        amount = f"{stage['amount']:,} {stage['unit']}"
        rates = (
            f"{stage['seconds']:,.2f}",
            f"{stage['per_second']:,.0f}",
            f"{stage['cpu_seconds']:,.1f}",
        )
        stages.add_row(name, amount, *rates, *memory)
    console.print(stages)
    others = Table(title="Measured on samples, scaled up to all photos")
    _add_columns(others, "what", "sample", "per second", "seconds for all")
    for name, found in figures["alternatives"].items():
        others.add_row(
            name,
            f"{found['sample']:,}",
            f"{found['per_second']:,.0f}",
            f"{found['seconds_for_all']:,.1f}",
        )
    console.print(others)
    for name, value in (figures["comparisons"] | figures["checked"]).items():
        console.print(f"{name}: {value:,}")


def _add_columns(table: Table, first: str, *numbers: str) -> None:
    table.add_column(first)
    for column in numbers:
        table.add_column(column, justify="right")
