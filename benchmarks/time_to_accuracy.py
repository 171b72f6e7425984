"""python benchmarks/time_to_accuracy.py: seconds and images until validation passes an accuracy.

    python benchmarks/time_to_accuracy.py --config configs/demo.py --target 0.85 --seeds 3

Each seed is one process of svhn_jax.train with an empty compilation cache. It ends when a
validation reaches the target. The clock starts with the process: imports, compilation and
validations count. The configuration's data must be prepared. Anchors train on the same crops:

    --potterhsu               potterhsu's network and recipe, batch 64, its learning rate scaled
    --fast-plate-ocr YAML     pip install 'fast-plate-ocr[train]'; YAML is that project's
                              models/cct_xs_v1.yaml. Its defaults, 5 slots, Keras on TensorFlow
"""

import csv
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Annotated, Any

import numpy as np
from PIL import Image
from rich.table import Table

from svhn_jax import cli, config_files, labels
from svhn_jax.checked import Checked, Fraction, Positive, at_least
from svhn_jax.config import Config
from svhn_jax.data import arrays
from svhn_jax.errors import InputError
from svhn_jax.output import Terminal

CONFIGS = Path(__file__).parents[1] / "configs"
POLL_S = 0.1
ANCHOR_BATCH = 64  # potterhsu's own is 512, with a learning rate of 0.16
Validation = tuple[int, float]  # images seen, sequence accuracy
PLATE_CONFIG = """max_plate_slots: 5
alphabet: '0123456789_'
pad_char: '_'
img_height: 64
img_width: 64
image_color_mode: rgb
"""


@dataclass(frozen=True)
class Options(Checked):
    """Trains until a validation accuracy is reached."""

    config: Path
    """the configuration file"""
    target: Fraction = 0.85
    """sequence accuracy on validation"""
    seeds: Annotated[int, at_least(1)] = 3
    """runs, with the seeds 0, 1, ..."""
    limit_s: Positive = 1200.0
    """seconds after which a run ends without the target"""
    eval_every_steps: Annotated[int, at_least(0)] = 0
    """0: the configuration's"""
    potterhsu: bool = False
    """train configs/potterhsu.py too"""
    fast_plate_ocr: cli.OptionalPath = None
    """models/cct_xs_v1.yaml of fast-plate-ocr: trains it too"""
    to: cli.OptionalPath = None
    """a JSON file for the figures, written after each run"""


def main(options: Options, terminal: Terminal) -> None:
    config = config_files.load(options.config)
    every = options.eval_every_steps or config.eval_every_steps
    recipes = {options.config.stem: dataclasses.replace(config, eval_every_steps=every)}
    if options.potterhsu:
        recipes["potterhsu"] = potterhsu(recipes[options.config.stem])
    figures: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        trainers: dict[str, Callable[[int], Any]] = {
            name: lambda seed, recipe=recipe: training(recipe, seed)
            for name, recipe in recipes.items()
        }
        if options.fast_plate_ocr:
            count = write_crops(config.data.dir, Path(folder))
            yaml = options.fast_plate_ocr.absolute()
            trainers["fast-plate-ocr"] = lambda seed: fast_plate_ocr(
                Path(folder), yaml, seed, count
            )
        for seed in range(options.seeds):
            for name, start in trainers.items():
                with start(seed) as (process, read_validations):
                    run = follow(process, read_validations, options.target, options.limit_s)
                figures.setdefault(name, []).append(run)
                terminal.print(
                    f"{name}, seed {seed}: {run['best']:.3f} after {run['images']:,} images, "
                    f"{run['seconds']:.0f} s"
                )
                if options.to:
                    options.to.write_text(json.dumps(figures))
    _print_table(terminal, figures, options.target)
    terminal.result({"target": options.target, "runs": figures})


def potterhsu(config: Config) -> Config:
    """potterhsu's recipe on the data of `config`."""
    peer = config_files.load(CONFIGS / "potterhsu.py")
    rate = peer.optimizer.learning_rate * ANCHOR_BATCH / peer.batch_size
    return dataclasses.replace(
        peer,
        batch_size=ANCHOR_BATCH,
        num_epochs=config.num_epochs,
        eval_every_steps=config.eval_every_steps,
        data=config.data,
        optimizer=dataclasses.replace(peer.optimizer, learning_rate=rate),
    )


Started = tuple[subprocess.Popen[bytes], Callable[[], list[Validation]]]


@contextmanager
def training(config: Config, seed: int) -> Iterator[Started]:
    """A process that trains `config`, and a function that returns its validations so far."""
    with tempfile.TemporaryDirectory() as folder:
        config = dataclasses.replace(config, seed=seed, runs_dir=folder)
        path = Path(folder, "recipe.py")
        path.write_text(
            "import json\nfrom svhn_jax import config_files\n"
            f"config = config_files.from_json({config_files.to_json(config)!r}, 'recipe')\n"
        )
        command = [sys.executable, "-m", "svhn_jax.train", "--config", str(path), "--quiet"]
        rows = Path(folder, config.name, "metrics.jsonl")

        def validations() -> list[Validation]:
            whole = rows.read_text().rpartition("\n")[0] if rows.exists() else ""
            found = [json.loads(line) for line in whole.splitlines()]
            return [
                (row["step"] * config.batch_size, row["sequence_accuracy"])
                for row in found
                if row["split"] == "validation"
            ]

        env = os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "false"}
        with subprocess.Popen(command, env=env) as process:
            yield process, validations


@contextmanager
def fast_plate_ocr(crops: Path, model: Path, seed: int, count: int) -> Iterator[Started]:
    """A process of `fast-plate-ocr train`; one epoch is `count` images."""
    with tempfile.TemporaryDirectory() as output:
        command = ["fast-plate-ocr", "train", "--model-config-file", model]
        command += ["--plate-config-file", crops / "plate.yaml", "--output-dir", output]
        command += ["--annotations", crops / "train.csv", "--seed", seed]
        command += ["--val-annotations", crops / "validation.csv"]

        def validations() -> list[Validation]:
            [*logs] = Path(output).glob("*/training_log.csv")
            if not logs:
                return []
            with open(logs[0], newline="") as lines:
                rows = [row for row in csv.DictReader(lines) if row.get("val_acc")]
            return [((1 + int(row["epoch"])) * count, float(row["val_acc"])) for row in rows]

        env = os.environ | {"KERAS_BACKEND": "tensorflow"}
        try:
            started = subprocess.Popen(
                [*map(str, command)], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        except FileNotFoundError:
            raise InputError(
                "no command fast-plate-ocr: pip install 'fast-plate-ocr[train]'"
            ) from None
        with started as process:
            yield process, validations


def write_crops(data: str, folder: Path) -> int:
    """Writes both splits as PNG files, with the tables of fast-plate-ocr; returns train's size."""
    (folder / "plate.yaml").write_text(PLATE_CONFIG)
    counts = {}
    for name in ("train", "validation"):
        split = arrays.load_split(data, name)
        (folder / name).mkdir()
        with open(folder / f"{name}.csv", "w", newline="") as lines:
            table = csv.writer(lines)
            table.writerow(("image_path", "plate_text"))
            for row, (image, label) in enumerate(zip(split.images, split.labels, strict=True)):
                Image.fromarray(np.asarray(image)).save(folder / name / f"{row}.png")
                table.writerow((f"{name}/{row}.png", labels.decode(label)))
        counts[name] = len(split.labels)
    return counts["train"]


def follow(
    process: subprocess.Popen[bytes],
    read_validations: Callable[[], list[Validation]],
    target: float,
    limit_s: float,
) -> dict[str, Any]:
    """Waits until a validation reaches the target, the process ends or the time is over."""
    start = time.perf_counter()
    curve: list[dict[str, float]] = []
    try:
        while (seconds := time.perf_counter() - start) < limit_s:
            is_over = process.poll() is not None
            for images, accuracy in read_validations()[len(curve) :]:
                curve.append({"seconds": round(seconds, 1), "images": images, "accuracy": accuracy})
            if is_over or (curve and curve[-1]["accuracy"] >= target):
                break
            time.sleep(POLL_S)
    finally:
        process.kill()
    if process.returncode:
        raise InputError(f"{process.args}: ended with status {process.returncode}; see above")
    best = max((row["accuracy"] for row in curve), default=0.0)
    return {
        "is_reached": best >= target,
        "seconds": curve[-1]["seconds"] if best >= target else round(seconds, 1),
        "images": curve[-1]["images"] if curve else 0,
        "best": best,
        "curve": curve,
    }


def _print_table(
    terminal: Terminal, figures: dict[str, list[dict[str, Any]]], target: float
) -> None:
    table = Table("", "reached", "seconds", "images", "best", title=f"validation {target}")
    for name, runs in figures.items():
        reached = [run for run in runs if run["is_reached"]]
        cells = [
            _spread([run[field] for run in reached], digits)
            for field, digits in (("seconds", 0), ("images", 0))
        ]
        table.add_row(
            name,
            f"{len(reached)} of {len(runs)}",
            *cells,
            _spread([run["best"] for run in runs], 3),
        )
    terminal.print(table)


def _spread(values: list[float], digits: int) -> str:
    """Mean and standard deviation, for the table."""
    if not values:
        return "-"
    deviation = f" ± {stdev(values):,.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values):,.{digits}f}{deviation}"


if __name__ == "__main__":
    cli.run(Options, main)
