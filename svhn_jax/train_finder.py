"""python -m svhn_jax.train_finder --raw DIR [--boxed DIR] --work DIR --to DIR: trains the network that finds numbers in whole photos.

RAW holds train.tar.gz or train/; a fifth of it, the validation part of svhn_jax.preprocess --validation-fraction 0.2, is not
trained on. BOXED is a folder of further photos with boxes, as svhn_jax.box writes it; every tenth is not trained on. WORK gets
the composed scenes (1.5 GB) and the checkpoints: the same command goes on training where it was stopped; scenes that were
not all composed are composed again. TO gets weights.npz and finder.json, with the least score of a number, chosen on
validation; until then a finder that is there stays.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from svhn_jax import cli, files
from svhn_jax.checked import Checked, at_least
from svhn_jax.cli import OptionalPath
from svhn_jax.data.workers import Workers, usable_cores
from svhn_jax.errors import InputError
from svhn_jax.finding import material
from svhn_jax.finding.config import FinderConfig
from svhn_jax.output import Terminal


@dataclass(frozen=True)
class Options(Checked):
    """Trains the network that finds numbers in whole photos."""

    raw: Path
    """folder with train.tar.gz or train/ of SVHN Format 1"""
    work: Path
    """folder for scenes and checkpoints, to go on from; one run each"""
    to: Path
    """folder for the finder"""
    start: OptionalPath = None
    """folder of a trained finder of the same network, to start from"""
    boxed: OptionalPath = None
    """folder of further photos, with labels.csv"""
    empty_scenes: Annotated[int, at_least(1)] = 300
    """number of synthetic scenes without a number in which it is counted how often the finder says none"""
    jobs: Annotated[int, at_least(1)] = field(default_factory=usable_cores)
    """number of processes that compose scenes; the scenes do not depend on it"""
    settings: Annotated[FinderConfig, tyro.conf.arg(name="")] = field(default_factory=FinderConfig)


def main(options: Options, terminal: Terminal) -> int:
    for folder in (options.raw, options.boxed):
        if folder and not folder.is_dir():
            raise InputError(f"{folder}: no such folder; give the folder of the photos")
    for folder in (options.work, options.to):
        files.require_writable(folder)
    material.require_validation(options.raw)
    from svhn_jax.finding import (
        scene_files,
        training,
        weights,
    )  # imports JAX, which takes seconds: not for --help
    from svhn_jax.inference import find_scores
    from svhn_jax.inference.finder import Finder

    settings, work = options.settings, options.work.absolute()  # Orbax takes absolute paths alone
    folders = {"raw": options.raw, "boxed": options.boxed, "start": options.start}
    origin = {name: str(folder.absolute()) if folder else None for name, folder in folders.items()}
    training.require_same_run(settings, work / "steps", origin)
    with (
        Workers(options.jobs) as workers,
        terminal.progress("composing", settings.scenes, "scenes") as advance,
    ):
        scenes = scene_files.build(
            work / "scenes",
            settings.scenes,
            settings.seed,
            options.raw,
            options.boxed,
            workers,
            advance,
        )
    start = weights.load_for(settings, options.start) if options.start else None
    variables = weights.as_saved(
        training.train(settings, scenes, work / "steps", terminal.print, start, origin)
    )
    finder = Finder(weights.Trained(settings, variables, least_score=0.0))
    chosen = find_scores.choose_least_score(finder, options.raw, options.empty_scenes)
    weights.save(options.to, settings, variables, least_score=chosen.least_score)
    terminal.print(f"{options.to}: {chosen}")
    terminal.result({"to": str(options.to)} | chosen._asdict())
    return 0


if __name__ == "__main__":
    cli.run(Options, main)
