"""python benchmarks/against_pytorch.py [--config configs/NAME.py]: training beside PyTorch.

Both train the configuration's network, loss and optimizer on the same device, with the same batch
size and precision: float32 and batch 64 on a CPU, bfloat16 and batch 512 on a GPU. PyTorch runs
eager and compiled, channels_last, with its fused optimizer; its best rate counts. Each side is a
process of its own; they run in turn, after a round that does not count. First both take three
updates from the same params, in float32 without dropout: their losses must agree.

step alone:  one batch that is on the device. PyTorch's is a float tensor, prepared beforehand;
             svhn_jax crops and normalizes bytes in each step and counts its accuracies.
end to end:  a random crop of other images in each step. PyTorch from a DataLoader, and from a set
             on the device, cropped in its compiled graph; svhn_jax as it trains.

Random crops are the only augmentation. Needs pip install -e '.[pytorch]'.
"""

import dataclasses
import json
import os
import tempfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Any, Literal

from peer_worker import Worker
from rich.table import Table

from svhn_jax import cli, config_files
from svhn_jax.checked import Checked, Positive, at_least
from svhn_jax.config import AugmentConfig, Config
from svhn_jax.errors import InputError
from svhn_jax.output import Terminal
from svhn_jax.training import speed

OURS, OURS_FED = "svhn_jax", "svhn_jax, end to end"
LOADER, RESIDENT = "PyTorch, DataLoader", "PyTorch, set on the device"
CROP_ONLY = AugmentConfig(brightness=0.0, contrast=0.0, saturation=0.0)
SAME = 2e-3  # greatest relative difference of the first losses, in float32
LEARNING_RATE = 3e-4  # losses of every configuration fall with it
IMAGES_OF_BATCHES = 16  # size of the training set, of random pixels, in batches
Mode = Literal["eager", "default", "reduce-overhead", "max-autotune"]


@dataclass(frozen=True)
class Options(Checked):
    """Trains the same network with svhn_jax and with PyTorch, in turn."""

    config: Path = Path(__file__).parents[1] / "configs/potterhsu.py"
    """the configuration file"""
    rounds: Annotated[int, at_least(1)] = 5
    """runs of each"""
    steps: Annotated[int, at_least(0)] = 0
    """steps of a run; 0: 6 on a CPU, 100 on a GPU"""
    batch_size: Annotated[int, at_least(0)] = 0
    """0: 64 on a CPU, 512 on a GPU"""
    modes: tuple[Mode, ...] = ("eager", "default")
    """of PyTorch: eager, or a mode of torch.compile"""
    limit_s: Positive = 180.0
    """a mode that takes longer to start is left out"""
    to: Path | None = None
    """a JSON file for the figures, written as they come"""


class Comparison:
    """The processes of both sides, and their results."""

    def __init__(
        self, options: Options, device: str, folder: str, terminal: Terminal, stack: ExitStack
    ):
        self.options, self.device, self.terminal = options, device, terminal
        self.config = compared_config(config_files.load(options.config), options, device)
        self.count = options.steps or (100 if device == "cuda" else 6)
        self.shared = {"folder": folder, "device": device, "workers": os.cpu_count()}
        self.workers: dict[str, Worker] = {}
        self.figures: dict[str, Any] = {"config": options.config.name, "left_out": {}}
        self._rates: dict[str, list[float]] = {}
        self._stack = stack

    def start(self, name: str, module: str, **options: Any) -> None:
        """Starts the process of one side."""
        config = config_files.to_json(self.config)
        worker = Worker(module, self.shared | {"config": config, "is_exact": False} | options)
        self.workers[name] = self._stack.enter_context(worker)

    def start_all(self) -> None:
        """Starts both sides; modes of PyTorch that fail or take too long are left out."""
        self.start(OURS, "peer_svhn_jax")
        for mode in self.options.modes:
            name = f"PyTorch, {mode}" if mode == "eager" else f"PyTorch, torch.compile {mode}"
            self.start(name, "peer_pytorch", mode=mode)
            if not self.works(name, "run"):
                del self.workers[name]
        if len(self.workers) < 2:
            raise InputError("PyTorch could not train in any mode; see above")
        places = {(one.about["platform"], one.about["devices"]) for one in self.workers.values()}
        if len(places) > 1:
            raise InputError(f"different devices: {places}; set CUDA_VISIBLE_DEVICES=0")

    def works(self, name: str, what: str) -> bool:
        """Whether a process of PyTorch takes three steps within the limit."""
        try:
            self.workers[name].do(what, 3, limit_s=self.options.limit_s)
        except InputError as error:
            self.figures["left_out"][f"{name}, {what}"] = str(error)
            self.terminal.print(f"left out: {name}: {error}")
            return False
        return True

    def measure(self, runs: dict[str, tuple[str, str]], times: int, rounds: int) -> None:
        """Measures images/s of (process, method), `times` times the steps of a run, in turn."""
        count = times * self.count

        def rate(process: str, method: str) -> Callable[[], float]:
            worker = self.workers[process]
            return lambda: count * self.config.batch_size / worker.do(method, count)

        self._rates |= speed.in_turn({name: rate(*run) for name, run in runs.items()}, rounds)
        spreads = {name: speed.spread(values)._asdict() for name, values in self._rates.items()}
        self.write({"images_per_s": spreads})

    def step_alone(self) -> None:
        """Measures each process on one batch."""
        self.measure({name: (name, "run") for name in self.workers}, 1, self.options.rounds)
        best = self.best(self.workers.keys() - {OURS})
        ratio = speed.ratios(self._rates, OURS, best)._asdict()
        self.write({"ratio": ratio, "pytorch": best})

    def end_to_end(self) -> None:
        """Measures with input: PyTorch in its best mode, from a DataLoader and on the device."""
        modes = sorted(self._rates.keys() - {OURS}, key=lambda name: -median(self._rates[name]))
        runs = {OURS_FED: (OURS, "fed")}
        for name, method in ((RESIDENT, "resident"), (LOADER, "fed")):
            if mode := next((mode for mode in modes if self.works(mode, method)), None):
                runs[name] = (mode, method)
        self.measure(runs, 3, min(3, self.options.rounds))
        best = self.best(runs.keys() - {OURS_FED})
        ratio = speed.ratios(self._rates, OURS_FED, best)
        self.write({"ratio_end_to_end": ratio._asdict(), "pytorch_end_to_end": best})

    def best(self, names: Iterable[str]) -> str:
        return max(names, key=lambda name: median(self._rates[name]))

    def write(self, figures: dict[str, Any]) -> None:
        self.figures |= figures
        if self.options.to:
            self.options.to.write_text(json.dumps(self.figures))


def main(options: Options, terminal: Terminal) -> None:
    try:
        import torch
    except ImportError:
        raise InputError("PyTorch is not installed: pip install -e '.[pytorch]'") from None
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # both sides share the GPU's memory
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        comparison = Comparison(options, device, folder, terminal, stack)
        config = comparison.config
        speed.random_data(config, IMAGES_OF_BATCHES * config.batch_size, Path(folder))
        comparison.write({"losses": check_same(comparison)})
        comparison.start_all()
        about = {name: worker.about for name, worker in comparison.workers.items()}
        sizes = {"batch_size": config.batch_size, "precision": config.model.compute_dtype}
        comparison.write(sizes | {"about": about})
        comparison.step_alone()
        comparison.end_to_end()
    _print_table(terminal, comparison.figures)
    terminal.result(comparison.figures)


def compared_config(base: Config, options: Options, device: str) -> Config:
    """What both sides train: random crops alone, a constant learning rate, the device's size.

    AdamW takes the place of Muon.
    """
    is_gpu = device == "cuda"
    precision = "bfloat16" if is_gpu else "float32"
    return dataclasses.replace(
        base,
        batch_size=options.batch_size or (512 if is_gpu else 64),
        augment=CROP_ONLY,
        model=dataclasses.replace(base.model, compute_dtype=precision),
        optimizer=dataclasses.replace(
            base.optimizer,
            algorithm="sgd" if base.optimizer.algorithm == "sgd" else "adamw",
            learning_rate=LEARNING_RATE,
            schedule="constant",
            warmup_fraction=0.0,
        ),
    )


def check_same(comparison: Comparison) -> dict[str, list[float]]:
    """The losses of both sides over the first updates.

    Raises:
      InputError: they differ by more than SAME, or do not fall.
    """
    config = comparison.config
    model = dataclasses.replace(config.model, dropout=0.0, compute_dtype="float32")
    plain = config_files.to_json(dataclasses.replace(config, model=model))
    options = comparison.shared | {"config": plain, "is_exact": True, "mode": "eager"}
    losses = {}
    for name, module in (("svhn_jax", "peer_svhn_jax"), ("PyTorch", "peer_pytorch")):
        with Worker(module, options) as worker:
            losses[name] = worker.do("losses")
    ours, theirs = losses.values()
    difference = max(abs(a - b) / b for a, b in zip(ours, theirs, strict=True))
    comparison.terminal.print(
        f"losses of three updates, float32: {ours}, PyTorch {theirs}; difference {difference:.1e}"
    )
    if not (difference <= SAME and ours[-1] < ours[0]):
        raise InputError(f"the losses differ by {difference:.2%}, or do not fall: {losses}")
    return losses


def _print_table(terminal: Terminal, figures: dict[str, Any]) -> None:
    title = f"{figures['config']}, training, batch {figures['batch_size']}, {figures['precision']}"
    table = Table("", "images/s, median (range)", title=title)
    for name, rate in figures["images_per_s"].items():
        table.add_row(name, str(speed.Spread(**rate)))
    terminal.print(table)
    for ratio, peer in (("ratio", "pytorch"), ("ratio_end_to_end", "pytorch_end_to_end")):
        spread = speed.Spread(**figures[ratio])
        terminal.print(f"svhn_jax over {figures[peer]}: {spread}, {spread.n} rounds")


if __name__ == "__main__":
    cli.run(Options, main)
