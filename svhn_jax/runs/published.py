"""Published weights: a run folder of one step, without the optimizer's state and the logs."""

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import jax

from svhn_jax.config import Config
from svhn_jax.runs.checkpoint import Checkpoints
from svhn_jax.runs.folder import RunFolder


def write(
    to: Path,
    run: RunFolder,
    step: int,
    weights: Any,
    validation: dict[str, float],
    numbers: dict[str, Any],
) -> None:
    """Writes the folder beside `to`, then renames it.

        with Checkpoints(run.steps_path) as checkpoints:
            weights = checkpoints.restore_weights(step)
        write(Path("weights"), run, step, weights, checkpoints.validation(step), {})

    Args:
      run, step: the run, of any network, and the step that the weights are of.
      weights: of `Checkpoints.restore_weights`; they may have been changed.
      validation: their metrics on the validation split.
      numbers: what else belongs to the weights, such as a temperature: JSON values for `facts`.

    Raises:
      CheckpointError, OSError: they cannot be written; nothing is left.
    """
    config, record = run.config(), run.data()
    model = dataclasses.replace(config.model, compute_dtype="float32")
    config = dataclasses.replace(config, name=to.name, runs_dir=Config.runs_dir, model=model)
    # Paths as configured, not this machine's.
    record = dataclasses.replace(record, folder=config.data.dir, mix_in=config.data.mix_in)
    facts = {"run": run.config().name, "step": step, "versions": run.facts().get("versions", {})}
    to.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".publish-", dir=to.parent) as temporary:
        new = RunFolder(f"{temporary}/run")
        with Checkpoints(new.steps_path, is_writer=True) as checkpoints:
            checkpoints.save(step, jax.device_put(weights), validation)
        for marker in Path(temporary).rglob("commit_success.txt"):  # Orbax writes the path into it
            marker.write_text("Checkpoint commit was successful\n")
        new.start_or_continue(config, record, {"published": facts | numbers}, has_steps=False)
        Path(new.path).rename(to)
