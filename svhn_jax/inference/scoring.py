"""Scoring saved steps of a run."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from svhn_jax import output
from svhn_jax.inference import predictions
from svhn_jax.inference.predictions import PredictionTable
from svhn_jax.inference.source import Source, choose_steps, find
from svhn_jax.inference.weights import load_asked
from svhn_jax.model import networks
from svhn_jax.options import Evaluate
from svhn_jax.runs.checkpoint import Checkpoints
from svhn_jax.runs.results import merge_results, write_predictions
from svhn_jax.training import devices, steps
from svhn_jax.training.evaluator import score_split


class StepScorer:
    """Scores saved steps of a run on one split; the eval step is compiled once."""

    def __init__(self, source: Source):
        """Makes what all steps share."""
        config, self._split, self._batch_size = source.config, source.split, source.batch_size
        self.mesh, self.network = devices.make_mesh(), networks.build(config.model)
        self._eval_step = steps.compile_eval_step(config, self.network, self.mesh, source.views)
        self._is_compiled = False

    def score(
        self, variables: Any, advance: Callable[[int], object] = lambda count: None
    ) -> tuple[dict[str, float], PredictionTable]:
        """The metrics of the whole split, images/s among them, and its predictions.

        Args:
          variables: of the network, on the host, see `load_asked`.
          advance: called with the number of photos scored since the last call.
        """
        variables = devices.put(variables, devices.replicated(self.mesh))
        if not self._is_compiled:  # so that images/s does not count the time of compiling
            first = self._split._replace(
                images=self._split.images[: self._batch_size],
                labels=self._split.labels[: self._batch_size],
            )
            score_split(self._eval_step, variables, first, self._batch_size, self.mesh)
            self._is_compiled = True
        started = time.perf_counter()
        metrics, predicted = score_split(
            self._eval_step, variables, self._split, self._batch_size, self.mesh, advance
        )
        rate = len(self._split.images) / (time.perf_counter() - started)
        table = predictions.tabulate(self._split, predicted)
        return metrics | predictions.summarize(table) | {"images_per_s": rate}, table


class ScoredStep(NamedTuple):
    """One saved step, scored."""

    source: Source
    step: int
    metrics: dict[str, float]
    table: PredictionTable


def write_step(
    source: Source, step: int, metrics: dict[str, float], table: PredictionTable
) -> None:
    """Writes the predictions of a step, and merges its metrics into the results table.

    Raises:
      InputError: as `merge_results`.
    """
    write_predictions(source.run, source.name, step, table.to_csv())
    merge_results(source.run, source.name, {step: metrics}, source.split.fingerprint)


def score_step(options: Evaluate) -> ScoredStep:
    """Scores one step, in this process alone, and writes nothing.

    Raises:
      InputError: there is no such run, step or data.
      CheckpointError: the step is damaged.
    """
    source = find(options)
    scorer = StepScorer(source)
    with Checkpoints(source.run.steps_path) as checkpoints:
        step = choose_steps(options.step, checkpoints, source.run)[-1]
        variables = load_asked(source.run, checkpoints, step, source.config, scorer.network)
        with output.progress(f"step {step}", len(source.split.images), "photos") as advance:
            metrics, table = scorer.score(variables, advance)
    return ScoredStep(source, step, metrics, table)
