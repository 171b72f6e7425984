"""python -m svhn_jax.train_finder --config configs/finder.py --raw RAW --empty EMPTY:
trains the finder, which finds numbers in whole photos.

RAW holds train.tar.gz or train/ of SVHN; a fifth of it, the validation part of
svhn_jax.preprocess --validation-fraction 0.2, is not trained on. EMPTY is a folder of pictures
without a number, BOXED one of further photos with boxes, as svhn_jax.box writes it. Scenes are
composed into the folder data.dir of the configuration, unless they are there already (77 kB each);
then the run is trained, or continued, as svhn_jax.train does.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from svhn_jax import cli
from svhn_jax.checked import Checked, at_least
from svhn_jax.config import Config, Count
from svhn_jax.data.workers import Workers, usable_cores
from svhn_jax.errors import InputError
from svhn_jax.output import Terminal


@dataclass(frozen=True)
class Options(Checked):
    """Composes scenes, and trains the finder on them."""

    config: Path
    """the configuration file; options named like its fields override them"""
    raw: Path
    """folder with train.tar.gz or train/ of SVHN Format 1"""
    empty: Path
    """folder of pictures without a number"""
    boxed: Path | None = None
    """folder of further photos, with labels.csv"""
    scenes: Count = 36_000
    """number of training scenes"""
    validation_scenes: Count = 512
    """number of scenes of the photos that are not trained on"""
    start: str | None = None
    """folder of a run: begin with its weights"""
    jobs: Annotated[int, at_least(1)] = field(default_factory=usable_cores)
    """number of processes that compose scenes; the scenes do not depend on it"""
    settings: Annotated[Config, cli.UNPREFIXED] = field(default_factory=Config)


def main(options: Options, terminal: Terminal) -> int:
    from svhn_jax.finding import scene_files  # these import JAX: not for --help
    from svhn_jax.finding.task import FinderTask
    from svhn_jax.training import run

    counts = {"train": options.scenes, "validation": options.validation_scenes}
    folders = {"raw": options.raw, "boxed": options.boxed, "empty": options.empty}
    sources = {name: str(path.absolute()) if path else None for name, path in folders.items()}
    settings, total = options.settings, sum(counts.values())
    if settings.model.architecture != "finder":
        raise InputError("--config: its model.architecture is not finder; give configs/finder.py")
    with (
        Workers(options.jobs) as workers,
        terminal.progress("composing", total, "scenes") as advance,
    ):
        scene_files.build(Path(settings.data.dir), counts, settings.seed, sources, workers, advance)
    return run.run(settings, FinderTask, start=options.start, terminal=terminal)


if __name__ == "__main__":
    cli.run(Options, main)
