"""python -m svhn_jax.publish --run FOLDER --to NEW: the weights of one saved step, as a small run for others to read with.

NEW is a run folder that svhn_jax.evaluate reads like any other, without what only training needs: the optimizer's state,
the other steps and the logs. Its confidence is calibrated: the heads' logits are divided by a temperature that is fitted on
the run's validation photos, which changes no digit. Paths in it are those of the configuration, so that it does not name
this machine's folders.
"""

from svhn_jax import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()  # the imports below take time

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

from svhn_jax import command_line, output
from svhn_jax.config import Config
from svhn_jax.data import writing
from svhn_jax.errors import InputError, run_command
from svhn_jax.options import Evaluate, OptionalStr, OutputOptions
from svhn_jax.output import Output


@dataclass(frozen=True)
class Options:
    """Writes the weights of one saved step as a small run."""

    run: str
    """the folder of a trained run"""
    to: Path
    """the folder to write; it must not exist"""
    data: OptionalStr = None
    """another prepared data set than the run's own, for the validation photos"""
    step: str = "best"
    """best (on validation while training), latest or a step's number"""
    output: OutputOptions = field(default_factory=Output)

    def __post_init__(self) -> None:
        if self.to.exists():
            raise InputError(f"{self.to}: exists already; move it away, or give another --to")


def main() -> int:
    options = command_line.parse(Options, "python -m svhn_jax.publish", __doc__ or "")
    # Imports JAX, which takes seconds: not for --help.
    import jax

    from svhn_jax.inference import calibration
    from svhn_jax.inference.reader import Reader
    from svhn_jax.inference.source import choose_steps, load_split
    from svhn_jax.inference.weights import load_variables, saved_form
    from svhn_jax.model import networks
    from svhn_jax.runs.checkpoint import Checkpoints
    from svhn_jax.runs.folder import RunFolder

    console = output.console(options.output)
    run = RunFolder(options.run)
    config = dataclasses.replace(run.config(), name=options.to.name, runs_dir=Config.runs_dir)
    with Checkpoints(run.steps_path) as saved:
        step = choose_steps(options.step, saved, run)[-1]
        variables = load_variables(saved, step, config, networks.build(config.model))
        metadata, validation = saved.metadata(step), saved.validation(step)
    split, _ = load_split(Evaluate(run=options.run, split="validation", data=options.data), run, run.config())
    temperature = calibration.fit(Reader(options.run, str(step)), split.images, split.labels)
    record = dataclasses.replace(run.data(), folder=config.data.dir, mix_in=config.data.mix_in)
    metadata |= {"config": dataclasses.asdict(config), "data": dataclasses.asdict(record)}
    metadata |= {"published": {"run": run.config().name, "step": step, "temperature": temperature}}
    metadata.pop("window", None)
    tree = saved_form(config, calibration.cooled(variables, temperature))
    with writing.building(options.to) as folder:
        published = RunFolder(str(folder))
        with Checkpoints(published.steps_path, metadata=metadata, is_writer=True) as checkpoints:
            checkpoints.save(step, jax.device_put(tree), validation)
        for marker in folder.rglob(
            "commit_success.txt"
        ):  # Orbax writes this machine's path into it; its presence counts
            marker.write_text("Checkpoint commit was successful\n")
        published.start_or_continue(config, record, has_steps=False)
    size = sum(path.stat().st_size for path in options.to.rglob("*") if path.is_file())
    console.print(
        f"{options.to}: step {step}, {size / 1e6:.1f} MB, temperature {temperature:.3f}. Read with it:\n"
        f"  python -m svhn_jax.evaluate --run {options.to} --data DIR --split test",
        soft_wrap=True,
    )
    output.print_json(options.output, {"step": step, "bytes": size, "temperature": temperature})
    return 0


if __name__ == "__main__":
    run_command(main)
