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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from PIL import Image

from svhn_jax import cli, config_files, labels
from svhn_jax.checked import Checked, Fraction, Positive, at_least
from svhn_jax.config import Config
from svhn_jax.data import arrays
from svhn_jax.errors import InputError
from svhn_jax.output import Terminal
from svhn_jax.training import speed

CONFIGS = Path(__file__).parents[1] / "configs"
POLL_S = 0.1
ANCHOR_BATCH = 64  # potterhsu's own is 512, with a learning rate of 0.16
Validation = tuple[int, float]  # images seen, sequence accuracy


class Trainer(NamedTuple):
    """A command, its environment, and a function that returns its validations so far."""

    command: list[str]
    env: dict[str, str]
    validations: Callable[[], list[Validation]]


PLATE_CONFIG = """{max_plate_slots: 5, alphabet: '0123456789_', pad_char: '_', img_height: 64,
img_width: 64, image_color_mode: rgb}
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
    fast_plate_ocr: Path | None = None
    """models/cct_xs_v1.yaml of fast-plate-ocr: trains it too"""


def main(options: Options, terminal: Terminal) -> None:
    config = config_files.load(options.config)
    every = options.eval_every_steps or config.eval_every_steps
    recipes = {options.config.stem: dataclasses.replace(config, eval_every_steps=every)}
    if options.potterhsu:
        recipes["potterhsu"] = potterhsu(recipes[options.config.stem])
    figures: dict[str, list[dict[str, Any]]] = {name: [] for name in recipes}
    with tempfile.TemporaryDirectory() as name:
        folder, model = Path(name), options.fast_plate_ocr
        if model:
            count = write_crops(config.data.dir, folder)
            figures["fast-plate-ocr"] = []
        for seed in range(options.seeds):
            for name, runs in figures.items():
                trainer = (
                    training(recipes[name], seed, folder)
                    if name in recipes
                    else fast_plate_ocr(str(model), seed, folder, count)
                )
                runs.append(follow(trainer, options.target, options.limit_s))
                best, images, seconds = (runs[-1][key] for key in ("best", "images", "seconds"))
                terminal.print(f"{name}, {seed}: {best:.3f}, {images:,} images, {seconds:.0f} s")
    for name, runs in figures.items():
        reached = [run for run in runs if run["is_reached"]]
        terminal.print(f"{name}: {options.target} in {len(reached)} of {len(runs)} runs")
        for what in ("seconds", "images") if reached else ():
            terminal.print(f"  {what}: {speed.spread([run[what] for run in reached])}")
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


def training(config: Config, seed: int, folder: Path) -> Trainer:
    """svhn_jax.train, with an empty compilation cache."""
    config = dataclasses.replace(config, seed=seed, runs_dir=str(folder / f"runs{seed}"))
    path = folder / f"{config.name}{seed}.py"
    path.write_text(
        "from svhn_jax import config_files\n"
        f"config = config_files.from_json({config_files.to_json(config)!r}, 'recipe')\n"
    )
    rows = Path(config.runs_dir, config.name, "metrics.jsonl")

    def validations() -> list[Validation]:
        whole = rows.read_text().rpartition("\n")[0] if rows.exists() else ""
        found = [json.loads(line) for line in whole.splitlines()]
        return [
            (row["step"] * config.batch_size, row["sequence_accuracy"])
            for row in found
            if row["split"] == "validation"
        ]

    command = [sys.executable, "-m", "svhn_jax.train", "--config", str(path), "--quiet"]
    return Trainer(command, {"JAX_ENABLE_COMPILATION_CACHE": "false"}, validations)


def fast_plate_ocr(model: str, seed: int, folder: Path, count: int) -> Trainer:
    """fast-plate-ocr train; an epoch is `count` images."""
    output = folder / f"fast-plate-ocr{seed}"

    def validations() -> list[Validation]:
        rows = []
        for path in output.glob("*/training_log.csv"):
            with open(path, newline="") as lines:
                rows += [row for row in csv.DictReader(lines) if row.get("val_acc")]
        return [((1 + int(row["epoch"])) * count, float(row["val_acc"])) for row in rows]

    command = ["fast-plate-ocr", "train", "--model-config-file", model, "--seed", str(seed)]
    command += ["--plate-config-file", f"{folder}/plate.yaml", "--output-dir", str(output)]
    command += ["--annotations", f"{folder}/train.csv"]
    command += ["--val-annotations", f"{folder}/validation.csv"]
    return Trainer(command, {"KERAS_BACKEND": "tensorflow"}, validations)


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


def follow(trainer: Trainer, target: float, limit_s: float) -> dict[str, Any]:
    """Trains until a validation reaches the target, the process ends or the time is over."""
    start, curve = time.perf_counter(), []
    env = os.environ | trainer.env
    with subprocess.Popen(trainer.command, env=env, stdout=subprocess.DEVNULL) as process:
        while (seconds := time.perf_counter() - start) < limit_s:
            is_over = process.poll() is not None
            for images, accuracy in trainer.validations()[len(curve) :]:
                curve.append({"seconds": round(seconds, 1), "images": images, "accuracy": accuracy})
            if is_over or (curve and curve[-1]["accuracy"] >= target):
                break
            time.sleep(POLL_S)
        process.kill()
    if process.returncode > 0:
        raise InputError(f"{trainer.command}: status {process.returncode}; see above")
    best = max((row["accuracy"] for row in curve), default=0.0)
    return {
        "is_reached": best >= target,
        "seconds": curve[-1]["seconds"] if best >= target else round(seconds, 1),
        "images": curve[-1]["images"] if curve else 0,
        "best": best,
        "curve": curve,
    }


if __name__ == "__main__":
    cli.run(Options, main)
