"""The options of the commands that use JAX, as dataclasses; apart from both, for neither may import the other."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from svhn_jax.checked import Checked, Rule, at_least
from svhn_jax.config import Config
from svhn_jax.output import Output

# The hint stands for "(default: None)", the metavar for "{None}|PATH".
OptionalPath = Annotated[
    Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="(optional)")
]
OptionalStr = Annotated[str | None, tyro.conf.arg(metavar="STR", help_behavior_hint="(optional)")]
OptionalInt = Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="(optional)")]
Splits = Annotated[
    tuple[Literal["train", "extra", "test"], ...],
    tyro.conf.arg(metavar="{train,extra,test} ...", help_behavior_hint="(default: all)"),
]
_Unprefixed = tyro.conf.arg(name="")  # the fields of a dataclass become options of their own names
OutputOptions = Annotated[Output, _Unprefixed]


def _file(suffix: str) -> Rule:
    return Rule(
        lambda path: path.suffix.lower() == suffix and path.absolute().parent.is_dir(),
        f"the name of a {suffix} file, in a folder that exists",
    )


CSV, PNG = _file(".csv"), _file(".png")


@dataclass(frozen=True)
class Processes:
    """Which of many processes this is, where they are started by hand."""

    coordinator: OptionalStr = None
    """HOST:PORT of process 0, for one of many processes started by hand"""
    processes: OptionalInt = None
    """number of those processes; 1: this process alone, whatever the environment says"""
    process: OptionalInt = None
    """index of this process, from 0"""


@dataclass(frozen=True)
class Train:
    """Options of svhn_jax.train."""

    config: Path
    """the configuration file; options named like its fields override them"""
    processes: Annotated[Processes, _Unprefixed] = field(default_factory=Processes)
    output: OutputOptions = field(default_factory=Output)
    settings: Annotated[Config, _Unprefixed] = field(default_factory=Config)


@dataclass(frozen=True)
class Evaluate(Checked):
    """Options of svhn_jax.evaluate."""

    config: OptionalPath = None
    """the configuration file of the run; or give --run"""
    run: OptionalStr = None
    """the run's folder, which carries its own configuration"""
    split: Literal["train", "validation", "test"] = "validation"
    """what to read"""
    step: str = "latest"
    """latest, best (on validation while training), all, or a step's number"""
    data: OptionalStr = None
    """another prepared data set than the run's own"""
    batch_size: Annotated[OptionalInt, at_least(1)] = None
    """images per evaluation step; the result does not depend on it"""
    tta: bool = False
    """test-time augmentation: average five windows of each crop, shifted by three pixels; five times the work"""
    sheet: Annotated[OptionalPath, PNG] = None
    """PNG to write: the first photos of the split, with what the last scored step reads"""
    errors: Annotated[OptionalPath, PNG] = None
    """PNG to write: the photos that the last scored step misreads, with what it reads"""
    watch: bool = False
    """follow a run that is being trained: score each step as it is saved, until its last one"""
    patience_s: Annotated[float, at_least(0)] = 60.0
    """with --watch: seconds to wait for a run that no process trains, before giving up"""
    processes: Annotated[Processes, _Unprefixed] = field(default_factory=Processes)
    output: OutputOptions = field(default_factory=Output)


@dataclass(frozen=True)
class Benchmark(Checked):
    """Options of svhn_jax.benchmark."""

    config: Path = Path("configs/demo.py")
    """the configuration file; options named like its fields override them"""
    rounds: Annotated[int, at_least(1)] = 5
    """runs of each measurement"""
    seconds: Annotated[float, Rule(lambda s: 0 < s <= 3600, "more than 0, and at most 3600")] = 3.0
    """length of a run"""
    images: Annotated[int, at_least(1)] = 20_000
    """number of images in the training set"""
    starts: bool = True
    """measure the time to the first step, too"""
    only_first_step: bool = False
    """take the first step, and end; the time to it is measured on further processes with this option"""
    output: OutputOptions = field(default_factory=Output)
    settings: Annotated[Config, _Unprefixed] = field(default_factory=Config)
