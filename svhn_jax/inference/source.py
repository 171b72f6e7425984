"""What an evaluation scores: a run, a split of a data set, and steps."""

import re
from pathlib import Path
from typing import NamedTuple

from etils import epath
from rich.console import Console

from svhn_jax import config_files
from svhn_jax.config import Config
from svhn_jax.data import arrays, remote
from svhn_jax.data.arrays import Split
from svhn_jax.errors import InputError
from svhn_jax.model import inputs
from svhn_jax.options import Evaluate
from svhn_jax.runs.checkpoint import Checkpoints
from svhn_jax.runs.folder import RunFolder
from svhn_jax.training.dataset import load_images


class Source(NamedTuple):
    """A run, and the images it is scored on.

    batch_size, views: of the eval step. folder: of the data set. name: of the results table in the run's folder.
    """

    run: RunFolder
    config: Config
    batch_size: int
    views: int
    split: Split
    folder: str
    name: str


def find(options: Evaluate) -> Source:
    """Opens the run, and the split that the options name.

    Raises:
      InputError: there is no such run or split, or the split does not suit the run.
    """
    run = RunFolder(folder_of(options))
    config = run.config()
    batch_size = config.eval_batch_size if options.batch_size is None else options.batch_size
    split, folder = load_split(options, run, config)
    views = len(inputs.VIEWS) if options.tta else 1
    return Source(run, config, batch_size, views, split, folder, _result_name(options, split))


def folder_of(options: Evaluate) -> str:
    """The folder of the run that --config or --run names; InputError if neither or both are given."""
    if (options.config is None) == (options.run is None):
        raise InputError("give either --config FILE or --run FOLDER")
    if options.run is not None:
        return options.run
    config: Config = config_files.load(options.config or "")
    return f"{config.runs_dir}/{config.name}"


def load_split(options: Evaluate, run: RunFolder, config: Config) -> tuple[Split, str]:
    """The split to score, and its folder: --data, else `data.dir` of the run, else the recorded absolute path.

    Raises:
      InputError: the split is missing, not the data of the run, or cropped by another rule.
    """
    record = run.data()
    if options.data is not None:
        _require_split(options.data, options.split)
        return load_images(
            options.data, options.split, config, (record.crop, f"the run {run.path}")
        ), options.data
    folders = dict.fromkeys((config.data.dir, record.folder))
    there = [folder for folder in folders if (epath.Path(folder) / arrays.MANIFEST).exists()]
    damaged: list[InputError] = []
    for folder in there:
        try:
            validation = load_images(folder, "validation", config)
        except InputError as error:  # the next folder may hold the run's own data
            damaged.append(error)
            continue
        if (validation.fingerprint, validation.crop) == (
            record.fingerprints["validation"],
            record.crop,
        ):
            _require_split(folder, options.split)
            return load_images(folder, options.split, config), folder
    if damaged:
        raise damaged[0]
    if there:
        raise InputError(
            f"{run.path}: the data in {there[0]} have changed since it was trained; "
            "give --data DIR to score it on what is there now"
        )
    raise InputError(
        f"{run.path}: the data it was trained with are not in {' or '.join(folders)}; "
        "give --data DIR, a prepared data set"
    )


def _require_split(folder: str, split: str) -> None:
    """Raises InputError, naming the splits there are, if the data set has no such split."""
    there = arrays.nonempty_splits(remote.local(folder))
    if split not in there:
        raise InputError(f"{folder}: has no {split} images; give --split {' or '.join(there)}")


def _result_name(options: Evaluate, split: Split) -> str:
    """SPLIT for the run's own data; SPLIT-FOLDER-FINGERPRINT for others, -tta with averaged windows: no table mixes them."""
    tta = "-tta" if options.tta else ""
    if options.data is None:
        return options.split + tta
    return f"{options.split}-{re.sub(r'[^A-Za-z0-9_.-]', '_', Path(options.data).name)}-{split.fingerprint[:8]}{tta}"


def steps_to_score(
    console: Console, options: Evaluate, checkpoints: Checkpoints, run: RunFolder
) -> list[int]:
    """The steps that `choose_steps` chooses, with its errors; prints warnings and version notes on them."""
    return choose_steps(options.step, checkpoints, run)


def choose_steps(
    wanted: str, checkpoints: Checkpoints, run: RunFolder, *, may_be_all: bool = True
) -> list[int]:
    """The saved steps that --step names. may_be_all: False where one step is asked for, so that no error offers "all".

    Raises:
      InputError: there is no such step, or config.json is not the configuration of the checkpoints.
    """
    saved = checkpoints.steps()
    if not saved:
        raise InputError(
            f"{run.path}: holds no checkpoint; train it first, or fetch published weights again"
        )
    if wanted == "all":
        return saved
    if wanted == "latest":
        return saved[-1:]
    if wanted == "best":
        best = checkpoints.best_step()
        if best is None:
            remedy = run.remedy("give --step latest or a number")
            raise InputError(f"{run.path}: no saved step has validation metrics; {remedy}")
        return [best]
    if wanted.isascii() and wanted.isdigit() and int(wanted) in saved:
        return [int(wanted)]
    names = "latest, best, all" if may_be_all else "latest, best"
    raise InputError(
        f"--step is {wanted!r}; it must be {names} or one of {', '.join(map(str, saved))}"
    )
