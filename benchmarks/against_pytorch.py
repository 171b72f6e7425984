"""python benchmarks/against_pytorch.py: svhn_jax beside PyTorch, on the same device, with the same work.

potterhsu's network (42.9 M params, 793 million multiply-accumulates an image), the same batch size,
precision, loss and SGD, trained by PyTorch (eager, and torch.compile; channels_last) and by svhn_jax
(with its own convolutions, and with XLA's). Each is a process of its own; they run in turn, round by
round, after rounds that do not count. First the two are shown to be the same: from the same params,
without dropout, their losses over three steps.

step alone:  nothing is brought. PyTorch has one batch, a float tensor, cut and normalised; svhn_jax gathers
             each step's images from the set on the device, cuts and normalises them, which is more work.
end to end:  PyTorch from a DataLoader over memory-mapped crops, a random window of each; svhn_jax as it trains,
             from the same crops, which it has laid on the device before.

Needs PyTorch: pip install -e '.[pytorch]'. On a GPU it is bfloat16 (autocast there) and batch 512, on a CPU
float32 and batch 64. The last line is JSON: ratio is images/s of svhn_jax over those of the faster PyTorch.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import tyro
from rich.console import Console
from rich.table import Table

from svhn_jax.benchmarking import timing
from svhn_jax.benchmarking.timing import Spread
from svhn_jax.benchmarking.workload import random_data
from svhn_jax.errors import InputError, run_command

HERE = Path(__file__).parent
OURS, EAGER, COMPILED, PLAIN = "svhn_jax", "PyTorch, eager", "PyTorch, torch.compile", "svhn_jax, XLA's convolutions"
OURS_FED, PYTORCH_FED = "svhn_jax, end to end", "PyTorch, end to end"
SAME = 1e-2  # losses of the first steps, in float32, may differ by so much, relatively


@dataclass(frozen=True)
class Options:
    """Trains the same network with svhn_jax and with PyTorch, in turn."""

    rounds: int = 5
    """runs of each"""
    steps: int = 0
    """steps of a run; 0: 6 on a CPU, 100 on a GPU"""
    batch_size: int = 0
    """0: 64 on a CPU, 512 on a GPU"""
    workers: int = 0
    """processes of PyTorch's DataLoader; 0: as many as there are cores"""
    images: int = 8192
    """in the training set, of random pixels"""
    no_compile: bool = False
    """leave out torch.compile, which takes minutes to start"""

    def __post_init__(self) -> None:
        if min(self.rounds, self.images) < 1 or min(self.steps, self.batch_size, self.workers) < 0:
            raise InputError("--rounds and --images must be at least 1, the others at least 0")


class Worker:
    """A process that trains when it is told to."""

    def __init__(self, script: str, options: dict[str, Any]):
        env = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}  # a GPU's memory is for all sides
        command = [sys.executable, str(HERE / script)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        self.about = self.do("start", options)

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        with suppress(BrokenPipeError), self._process:  # closes its pipes, and waits
            pass

    def do(self, what: str, *arguments: Any) -> Any:
        """Sends a command, and waits for its answer."""
        assert self._process.stdin
        assert self._process.stdout
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps({"do": what, "with": arguments}) + "\n")
            self._process.stdin.flush()
        if line := self._process.stdout.readline():
            return json.loads(line)
        status = self._process.wait()
        raise InputError(f"{what}: a side of the comparison ended with status {status}: what it said is above")


def main() -> int:
    options = tyro.cli(Options, description=__doc__)
    try:
        import torch
    except ImportError:
        raise InputError("PyTorch is not installed: pip install -e '.[pytorch]'") from None
    device = "cuda" if torch.cuda.is_available() else "cpu"
    batch_size = options.batch_size or (512 if device == "cuda" else 64)
    count = options.steps or (100 if device == "cuda" else 6)
    console = Console(highlight=False, markup=False)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        random_data(max(options.images, batch_size), Path(folder))
        shared = {
            "folder": folder, "batch_size": batch_size, "device": device, "is_bf16": device == "cuda", "dropout": 0.2,
            "learning_rate": 0.001, "weight_decay": 5e-4, "config": str(HERE.parent / "configs/potterhsu.py"),
            "convolution": "auto", "is_compiled": False,
            "workers": options.workers or os.cpu_count(),
        }  # fmt: skip
        difference = _check_same(console, shared)

        def start(script: str, **more: Any) -> Worker:
            return stack.enter_context(Worker(script, shared | more))

        workers = {OURS: start("peer_svhn_jax.py"), EAGER: start("peer_pytorch.py")}
        if not options.no_compile:
            workers[COMPILED] = start("peer_pytorch.py", is_compiled=True)
        if device == "cpu":
            workers[PLAIN] = start("peer_svhn_jax.py", convolution="xla")
        _check_devices(workers)

        def rate(worker: Worker, what: str, times: int = 1) -> Callable[[], float]:
            return lambda: times * count * batch_size / worker.do(what, times * count)

        runs = {name: rate(worker, "run") for name, worker in workers.items()}
        results = timing.in_turn(runs, options.rounds)
        peer = max((name for name in (EAGER, COMPILED) if name in runs), key=lambda name: median(results[name]))
        # Longer runs: a DataLoader has some batches ready when its clock starts.
        fed = {OURS_FED: rate(workers[OURS], "fed", 3), PYTORCH_FED: rate(workers[peer], "fed", 3)}
        results |= timing.in_turn(fed, max(3, options.rounds // 2))
        about = {name: workers[name].about for name in (OURS, EAGER)}
    rates = {name: timing.spread(values) for name, values in results.items()}
    ratio, ratio_fed = timing.ratios(results, OURS, peer), timing.ratios(results, OURS_FED, PYTORCH_FED)
    _print_table(console, rates, ratio, ratio_fed, peer, batch_size)
    print(json.dumps({
        "ratio": ratio.median, "low": ratio.low, "high": ratio.high, "n": ratio.n, "device": about[OURS]["device"],
        "versions": about[OURS]["versions"] | {"torch": about[EAGER]["torch"]},
        "pytorch": peer, "batch_size": batch_size, "precision": "bfloat16" if device == "cuda" else "float32",
        "images_per_s": {name: rate._asdict() for name, rate in rates.items()},
        "ratio_end_to_end": ratio_fed._asdict(), "params": [about[OURS]["params"], about[EAGER]["params"]],
        "greatest_relative_difference_of_losses": difference, "threads_of_pytorch": about[EAGER]["threads"],
        **{name: about[OURS][name] for name in ("processor", "machine", "date")},
    }))  # fmt: skip
    return 0


def _check_same(console: Console, shared: dict[str, Any]) -> float:
    """The greatest relative difference between the two sides' losses over the first steps; stops where it is too great."""
    plain = shared | {"dropout": 0.0, "learning_rate": 0.01, "is_bf16": False}
    losses = []
    for script in ("peer_svhn_jax.py", "peer_pytorch.py"):
        with Worker(script, plain) as worker:
            losses.append(worker.do("losses"))
    difference = max(abs(one - other) / other for one, other in zip(*losses, strict=True))
    words = [" ".join(f"{loss:.5f}" for loss in side) for side in losses]
    console.print(f"losses of three steps from the same params: svhn_jax {words[0]}, PyTorch {words[1]}")
    if not difference <= SAME:
        raise InputError(f"the two sides do not do the same work: their losses differ by {difference:.1%}")
    return difference


def _check_devices(workers: dict[str, Worker]) -> None:
    found = {(worker.about["platform"], worker.about["devices"]) for worker in workers.values()}
    if len(found) > 1:
        places = "; ".join(
            f"{name}: {worker.about['devices']} x {worker.about['platform']}" for name, worker in workers.items()
        )
        raise InputError(
            f"the two sides run on different devices ({places}); give both one, as with CUDA_VISIBLE_DEVICES=0"
        )


def _print_table(
    console: Console, rates: dict[str, Spread], ratio: Spread, ratio_fed: Spread, peer: str, batch_size: int
) -> None:
    table = Table(title=f"potterhsu's network, training, batch {batch_size}: images/s, median (least to greatest)")
    table.add_column("")
    table.add_column("images/s", justify="right")
    for name, rate in rates.items():
        table.add_row(name, str(rate))
    console.print(table)
    console.print(f"svhn_jax over {peer}: {ratio}, {ratio.n} rounds; end to end {ratio_fed}, {ratio_fed.n} rounds")


if __name__ == "__main__":
    run_command(main)
