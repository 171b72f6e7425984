"""python benchmarks/against_pytorch.py [--config configs/NAME.py]: svhn_jax beside PyTorch, the same work on the same device.

The configuration's network, loss and optimizer, written in both, with the same batch size and precision; by default
potterhsu's network (42.9 M params, 793 million multiply-accumulates an image). PyTorch runs eager and compiled in
several modes, net and loss as one graph, channels_last, with its fused optimizer; its best counts. Each side is a
process of its own; they run in turn, round by round, after a round that does not count. First the two are shown to be
the same: from the same params, in true float32 and without dropout, their losses over three updates.

step alone:  one batch that is on the device. PyTorch's is a float tensor, cut and normalised beforehand; svhn_jax cuts
             and normalises bytes in each step and counts its accuracies, which is more work.
end to end:  a random window of another image each. PyTorch from a DataLoader over memory-mapped crops, and from a set on
             the device, cut in its compiled graph; svhn_jax as it trains, from a set on the device.

Neither side changes colours or warps, whatever the configuration says; one more row has svhn_jax with all of it.
Needs PyTorch: pip install -e '.[pytorch]'. On a GPU it is bfloat16 (autocast there) and batch 512, on a CPU
float32 and batch 64. The last line is JSON: ratio is images/s of svhn_jax over those of the best PyTorch.
"""

import dataclasses
import json
import os
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

import tyro
from peer_worker import HERE, Worker
from rich.console import Console
from rich.table import Table

from svhn_jax import config_files
from svhn_jax.benchmarking import timing
from svhn_jax.benchmarking.timing import Spread
from svhn_jax.benchmarking.workload import random_data
from svhn_jax.config import AugmentConfig, Config
from svhn_jax.errors import InputError, run_command

OURS, PLAIN, ALL_CHANGES = (
    "svhn_jax",
    "svhn_jax, XLA's convolutions",
    "svhn_jax, end to end, all augmentation",
)
OURS_FED, LOADER, RESIDENT = (
    "svhn_jax, end to end",
    "PyTorch, DataLoader",
    "PyTorch, set on the device",
)
CROP_ONLY = AugmentConfig(brightness=0.0, contrast=0.0, saturation=0.0)
SAME = 2e-3  # losses of the first updates, in true float32, may differ by so much, relatively
LEARNING_RATE = 3e-4  # at which the losses of every configuration fall in the first updates
Mode = Literal["eager", "default", "reduce-overhead", "max-autotune"]
MODES: dict[str, tuple[Mode, ...]] = {
    "cpu": ("eager", "default"),
    "cuda": ("eager", "default", "reduce-overhead", "max-autotune"),
}


@dataclass(frozen=True)
class Options:
    """Trains the same network with svhn_jax and with PyTorch, in turn."""

    config: Path = HERE.parent / "configs/potterhsu.py"
    """the configuration file"""
    rounds: int = 5
    """runs of each"""
    steps: int = 0
    """steps of a run; 0: 6 on a CPU, 100 on a GPU"""
    batch_size: int = 0
    """0: 64 on a CPU, 512 on a GPU"""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto: float32 on a CPU, bfloat16 on a GPU. float32 is TF32 on both sides where the GPU has it"""
    modes: tuple[Mode, ...] = ()
    """of PyTorch: eager, or a mode of torch.compile; none given: eager and default, on a GPU all"""
    limit_s: float = 180.0
    """a compiled PyTorch that does not begin in so many seconds is left out"""
    workers: int = 0
    """processes of PyTorch's DataLoader; 0: as many as there are cores"""
    images: int = 8192
    """in the training set, of random pixels"""
    to: Path | None = None
    """a JSON file for the figures, written as they come"""

    def __post_init__(self) -> None:
        if min(self.rounds, self.images) < 1 or min(self.steps, self.batch_size, self.workers) < 0:
            raise InputError("--rounds and --images must be at least 1, the others at least 0")
        if not 0 < self.limit_s < float("inf"):
            raise InputError(f"--limit-s is {self.limit_s}; it must be more than 0, and finite")


class Comparison:
    """The processes of both sides, and what they measured."""

    def __init__(self, options: Options, device: str, folder: str, console: Console):
        self.options, self.device, self.console = options, device, console
        self.config = compared_config(config_files.load(options.config), options, device)
        self.count = options.steps or (100 if device == "cuda" else 6)
        self.shared = {
            "folder": folder,
            "device": device,
            "workers": options.workers or os.cpu_count(),
        }
        self.workers: dict[str, Worker] = {}
        self.results: dict[str, list[float]] = {}
        self.left_out: dict[str, str] = {}  # what PyTorch could not do, and why
        self._stack = ExitStack()

    def __enter__(self) -> "Comparison":
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def start(self, name: str, script: str, config: Config, **options: Any) -> None:
        """A process of one side, under `name`."""
        worker = Worker(
            script,
            self.shared | {"config": config_files.to_json(config), "is_exact": False} | options,
        )
        self.workers[name] = self._stack.enter_context(worker)

    def start_all(self) -> None:
        """Both sides, PyTorch in every mode; modes that fail or take too long to begin are left out."""
        self.start(OURS, "peer_svhn_jax.py", self.config)
        if self.device == "cpu":
            plain = dataclasses.replace(self.config.model, convolution="xla")
            self.start(PLAIN, "peer_svhn_jax.py", dataclasses.replace(self.config, model=plain))
        for mode in self.options.modes or MODES[self.device]:
            name = f"PyTorch, {mode}" if mode == "eager" else f"PyTorch, torch.compile {mode}"
            self.start(name, "peer_pytorch.py", self.config, mode=mode)
            if not self.tried(name, "run"):
                del self.workers[name]
        if not self.pytorch():
            raise InputError("PyTorch could not train in any mode; why is above")

    def pytorch(self) -> list[str]:
        """The names of PyTorch's processes."""
        return [name for name in self.workers if name.startswith("PyTorch")]

    def tried(self, name: str, what: str) -> bool:
        """Whether a process of PyTorch takes three steps of `what` within the limit."""
        try:
            self.workers[name].do(what, 3, limit_s=self.options.limit_s)
        except InputError as error:
            self.left_out[f"{name}, {what}"] = str(error)
            self.console.print(f"left out: {name}: {error}")
            return False
        return True

    def rate(self, name: str, what: str, times: int = 1) -> Callable[[], float]:
        """A run that gives images/s."""
        count = times * self.count
        return lambda: count * self.config.batch_size / self.workers[name].do(what, count)

    def step_alone(self) -> str:
        """Measures; returns the name of the best PyTorch."""
        self.results |= timing.in_turn(
            {name: self.rate(name, "run") for name in self.workers}, self.options.rounds
        )
        for name, values in self.results.items():  # the rest may run into a limit of time
            self.console.print(f"{name}, step alone: {timing.spread(values)} images/s")
        return self._best(self.pytorch())

    def end_to_end(self) -> str:
        """Measures PyTorch in its best mode that can take the input from the device; returns the better of its two inputs."""
        modes = sorted(self.pytorch(), key=lambda name: -median(self.results[name]))
        peer = next((name for name in modes if self.tried(name, "resident")), None)
        runs = {OURS_FED: self.rate(OURS, "fed", 3)}
        if peer:
            runs[RESIDENT] = self.rate(peer, "resident", 3)
        loader = next((name for name in modes if self.tried(name, "fed")), None)
        if loader:  # longer runs: a DataLoader has some batches ready when its clock starts
            runs[LOADER] = self.rate(loader, "fed", 3)
        if ALL_CHANGES in self.workers:
            runs[ALL_CHANGES] = self.rate(ALL_CHANGES, "fed", 3)
        self.results |= timing.in_turn(
            runs, min(self.options.rounds, max(3, self.options.rounds // 2))
        )
        return self._best([name for name in (LOADER, RESIDENT) if name in runs])

    def _best(self, names: list[str]) -> str:
        return max(names, key=lambda name: median(self.results[name]))


def main() -> int:
    options = tyro.cli(Options, description=__doc__)
    try:
        import torch
    except ImportError:
        raise InputError("PyTorch is not installed: pip install -e '.[pytorch]'") from None
    device = "cuda" if torch.cuda.is_available() else "cpu"
    console = Console(highlight=False, markup=False)
    with (
        tempfile.TemporaryDirectory() as folder,
        Comparison(options, device, folder, console) as comparison,
    ):
        config = comparison.config
        random_data(max(options.images, config.batch_size), Path(folder), config.model.max_digits)
        losses = check_same(comparison)
        comparison.start_all()
        _check_devices(comparison.workers)
        peer = comparison.step_alone()
        full_augment = config_files.load(options.config).augment
        if full_augment != CROP_ONLY:
            comparison.start(
                ALL_CHANGES,
                "peer_svhn_jax.py",
                dataclasses.replace(config, augment=full_augment),
            )
        peer_fed = comparison.end_to_end()
        memory = {
            name: round(worker.do("memory"), 2) for name, worker in comparison.workers.items()
        }
        figures = _figures(comparison, losses, peer, peer_fed)
    figures["peak_memory_gb"] = memory
    if options.to:
        options.to.write_text(json.dumps(figures))
    _print_table(console, figures)
    print(json.dumps(figures))
    return 0


def compared_config(base: Config, options: Options, device: str) -> Config:
    """What both sides train: the configuration with random crops alone, a constant learning rate, and the device's size."""
    precision = (
        {"cpu": "float32", "cuda": "bfloat16"}[device]
        if options.precision == "auto"
        else options.precision
    )
    return dataclasses.replace(
        base,
        batch_size=options.batch_size or (512 if device == "cuda" else 64),
        augment=CROP_ONLY,
        model=dataclasses.replace(base.model, compute_dtype=precision),
        # Both rise and fall alike; a constant one is the least work for both.
        optimizer=dataclasses.replace(
            base.optimizer,
            learning_rate=LEARNING_RATE,
            schedule="constant",
            warmup_fraction=0.0,
            skip_nonfinite=False,
        ),
    )


def check_same(comparison: Comparison) -> dict[str, list[float]]:
    """The losses of both sides over the first updates.

    Raises:
      InputError: they differ too much, or do not fall.
    """
    config = comparison.config
    model = dataclasses.replace(config.model, dropout=0.0, compute_dtype="float32")
    plain = config_files.to_json(dataclasses.replace(config, model=model))
    options = comparison.shared | {"config": plain, "is_exact": True, "mode": "eager"}
    losses = {}
    for name, script in (("svhn_jax", "peer_svhn_jax.py"), ("PyTorch", "peer_pytorch.py")):
        with Worker(script, options, {"JAX_DEFAULT_MATMUL_PRECISION": "highest"}) as worker:
            losses[name] = worker.do("losses")
    words = {name: " ".join(f"{loss:.5f}" for loss in side) for name, side in losses.items()}
    difference = greatest_difference(losses)
    comparison.console.print(
        f"losses of three updates from the same params, true float32: svhn_jax {words['svhn_jax']}, "
        f"PyTorch {words['PyTorch']}; greatest relative difference {difference:.1e}"
    )
    if not difference <= SAME:
        raise InputError(
            f"the two sides do not do the same work: their losses differ by {difference:.2%}"
        )
    if not losses["svhn_jax"][-1] < losses["svhn_jax"][0]:
        raise InputError(
            "the losses do not fall, so that they do not show that the two sides do the same work"
        )
    return losses


def greatest_difference(losses: dict[str, list[float]]) -> float:
    """Relative, between the two sides' losses."""
    return max(abs(one - other) / other for one, other in zip(*losses.values(), strict=True))


def _check_devices(workers: dict[str, Worker]) -> None:
    found = {
        (worker.metadata["platform"], worker.metadata["devices"]) for worker in workers.values()
    }
    if len(found) > 1:
        places = "; ".join(
            f"{name}: {worker.metadata['devices']} x {worker.metadata['platform']}"
            for name, worker in workers.items()
        )
        raise InputError(
            f"the two sides run on different devices ({places}); give both one, as with CUDA_VISIBLE_DEVICES=0"
        )


def _figures(
    comparison: Comparison, losses: dict[str, list[float]], peer: str, peer_fed: str
) -> dict[str, Any]:
    """What the last line holds."""
    results, config = comparison.results, comparison.config
    ratio = timing.ratios(results, OURS, peer)
    ours, theirs = (comparison.workers[name].metadata for name in (OURS, peer))
    return {
        "ratio": ratio.median, "low": ratio.low, "high": ratio.high, "n": ratio.n,
        "ratio_end_to_end": timing.ratios(results, OURS_FED, peer_fed)._asdict(),
        "pytorch": peer, "pytorch_end_to_end": peer_fed, "left_out": comparison.left_out,
        "config": comparison.options.config.name, "batch_size": config.batch_size,
        "precision": config.model.compute_dtype, "params": [ours["params"], theirs["params"]],
        "images_per_s": {name: timing.spread(values)._asdict() for name, values in results.items()},
        "losses": losses, "greatest_relative_difference_of_losses": greatest_difference(losses),
        "versions": ours["versions"] | {"torch": theirs["torch"], "cudnn_of_torch": theirs["cudnn"]},
        "threads_of_pytorch": theirs["threads"],
        **{name: ours[name] for name in ("device", "processor", "machine", "date")},
    }  # fmt: skip


def _print_table(console: Console, figures: dict[str, Any]) -> None:
    title = f"{figures['config']}, training, batch {figures['batch_size']}, {figures['precision']}"
    table = Table(title=f"{title}: images/s, median (least to greatest)")
    table.add_column("")
    table.add_column("images/s", justify="right")
    table.add_column("peak memory, GB", justify="right")
    for name, rate in figures["images_per_s"].items():
        memory = figures["peak_memory_gb"].get(name)
        table.add_row(name, str(Spread(**rate)), "" if memory is None else f"{memory:.2f}")
    console.print(table)
    alone = Spread(*(figures[name] for name in ("ratio", "low", "high", "n")))
    fed = Spread(**figures["ratio_end_to_end"])
    console.print(
        f"svhn_jax over {figures['pytorch']}: {alone}, {alone.n} rounds; end to end over "
        f"{figures['pytorch_end_to_end']}: {fed}, {fed.n} rounds"
    )


if __name__ == "__main__":
    run_command(main)
