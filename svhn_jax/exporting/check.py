"""Compares what an exported file reads with what the network reads in JAX."""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from svhn_jax.errors import InputError
from svhn_jax.exporting import interface
from svhn_jax.inference.reader import Reader
from svhn_jax.model import decode, networks
from svhn_jax.model.networks import Logits
from svhn_jax.training import compilation, devices

TOLERANCE = 1e-4  # of a probability
BATCH_SIZE = 64
RANDOM_CROPS = 64
PROBABILITIES = ("confidence", "length_p", "digit_p")

Outputs = dict[str, np.ndarray]


class Comparison(NamedTuple):
    """Two readings of the same crops.

    greatest_difference: between two probabilities of the same thing, over all crops that are read alike.
    changed: crops that are read differently.
    ties: those among them whose two readings are equally probable by JAX itself, within the tolerance.
    is_finite: every probability of the file is a finite number.
    accuracy, accuracy_jax: shares of whole numbers that are right; None for crops without labels.
    """

    crops: int
    greatest_difference: float
    changed: int
    ties: int
    is_finite: bool
    accuracy: float | None
    accuracy_jax: float | None

    @property
    def is_same(self) -> bool:
        """Whether the readings are the same, ties apart, and the probabilities within the tolerance."""
        return self.changed == self.ties and self.greatest_difference <= TOLERANCE


def random_crops(size: int) -> np.ndarray:
    """uint8[RANDOM_CROPS, size, size, 3]: noise of several contrasts and grains, always the same."""
    rng = np.random.default_rng(0)
    crops = []
    for index in range(RANDOM_CROPS):
        cells = -(-size // 2 ** (index % 4))
        coarse = rng.integers(0, 256 >> index % 3, (cells, cells, 3), np.uint8)
        crops.append(coarse.repeat(2 ** (index % 4), 0).repeat(2 ** (index % 4), 1)[:size, :size])
    return np.stack(crops)


def compare(
    reader: Reader,
    run: Callable[[np.ndarray], Outputs],
    crops: np.ndarray,
    labels: np.ndarray | None = None,
) -> Comparison:
    """Reads crops by JAX and by an exported file: the first crop alone, the others in batches.

    Args:
      run: gives the outputs of the file, see svhn_jax.exporting.interface.
      crops: uint8[N, S, S, 3], N at least 1.
      labels: of the crops.
    """
    expected, logits = _read_by_jax(reader, crops)
    starts = [0, *range(1, len(crops), BATCH_SIZE), len(crops)]
    parts = [run(np.ascontiguousarray(crops[low:high])) for low, high in itertools.pairwise(starts)]
    found = {name: np.concatenate([part[name] for part in parts]) for name in interface.OUTPUTS}
    ours, theirs = _labels(expected), _labels(found)
    is_changed = (ours != theirs).any(axis=1)
    differences = [
        np.abs(expected[name] - found[name])[~is_changed].ravel() for name in PROBABILITIES
    ]
    return Comparison(
        len(crops),
        float(np.concatenate(differences).max(initial=0)),
        int(is_changed.sum()),
        _ties(
            Logits(*(x[is_changed] for x in logits)),
            expected["confidence"][is_changed],
            theirs[is_changed],
        ),
        all(bool(np.isfinite(found[name]).all()) for name in PROBABILITIES),
        None if labels is None else float((theirs == labels).all(axis=1).mean()),
        None if labels is None else float((ours == labels).all(axis=1).mean()),
    )


def require_sound(comparison: Comparison, what: str, precision: str) -> None:
    """Raises InputError if `what`, an exported file, cannot be used: in float32, if it does not read as JAX does."""
    if precision == "float32" and not comparison.is_same:
        raise InputError(
            f"{what}: not written, because it reads {comparison.changed} of {comparison.crops} crops differently than JAX, "
            f"and probabilities differ by up to {comparison.greatest_difference:.1e}; please report this as a bug"
        )
    if not comparison.is_finite:
        raise InputError(
            f"{what}: not written, because the network's values leave the range of {precision}; give --precision float32"
        )


def _read_by_jax(reader: Reader, crops: np.ndarray) -> tuple[Outputs, Logits]:
    """As JAX reads them on this machine, in float32: on a CPU by the algorithms that `Reader` uses."""
    config = interface.float32_config(reader.config, reader.config.model.convolution)
    network, variables = networks.build(config.model), jax.device_put(reader.variables)

    def read(variables: Any, images: jax.Array) -> tuple[Any, ...]:
        logits = interface.logits_of(config, network, variables, images)
        return *interface.outputs_of(logits).values(), *logits

    compiled = jax.jit(read, compiler_options=compilation.compiler_options(devices.make_mesh()))
    parts = []
    for low in range(0, len(crops), BATCH_SIZE):
        batch = crops[low : low + BATCH_SIZE]
        padded = np.pad(
            batch, ((0, BATCH_SIZE - len(batch)), (0, 0), (0, 0), (0, 0))
        )  # so that one program reads all
        parts.append(jax.device_get(compiled(variables, padded)))
    *outputs, length, digits = [
        np.concatenate(column)[: len(crops)] for column in zip(*parts, strict=True)
    ]
    return dict(zip(interface.OUTPUTS, outputs, strict=True)), Logits(length, digits)  # type: ignore[arg-type]


def _labels(outputs: Outputs) -> np.ndarray:
    """int32[N, D + 1], as svhn_jax.labels has them."""
    return np.concatenate([outputs["length"][:, None], outputs["digits"]], axis=1)


def _ties(logits: Logits, confidence: np.ndarray, others: np.ndarray) -> int:
    """How many of these readings are as probable as the most probable one, by the logits of JAX."""
    if not len(others):
        return 0
    p = np.exp(np.asarray(decode.log_p_of(Logits(*map(jnp.asarray, logits)), jnp.asarray(others))))
    return int((confidence - p <= TOLERANCE).sum())
