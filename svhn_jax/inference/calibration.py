"""Temperature scaling (Guo et al. 2017, arXiv:1706.04599): one number that makes a network's confidence match its accuracy."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize

from svhn_jax.config import LossConfig
from svhn_jax.data.arrays import Split
from svhn_jax.errors import InputError
from svhn_jax.inference.reader import Reader
from svhn_jax.model import decode, losses, metrics, networks
from svhn_jax.model.networks import Logits

LIMITS = (-3.0, 3.0)  # of the temperature's logarithm


def temperature_of(logits: Logits, labels: np.ndarray) -> float:
    """The temperature T at which logits / T give the labels int32[N, 1 + D] the greatest mean log-probability.

    Raises:
      InputError: there is none between e^-3 and e^3, as for a network that has not learned the task.
    """

    @jax.jit
    def loss(log_temperature: jax.Array) -> jax.Array:
        scaled: Any = jax.tree.map(lambda x: x / jnp.exp(log_temperature), logits)
        return -decode.log_p_of(scaled, jnp.asarray(labels)).mean()

    found = optimize.minimize_scalar(lambda x: float(loss(x)), bounds=LIMITS, method="bounded")
    if min(abs(found.x - limit) for limit in LIMITS) < 0.01:
        raise InputError(
            "no temperature calibrates this step: it reads the validation photos no better than chance"
        )
    return float(np.exp(found.x))


class Calibrated(NamedTuple):
    """A network whose confidence is calibrated.

    variables: of the network. temperature: its logits were divided by. metrics: on the photos it was calibrated on, as
    training saves them. changed: how many of these photos are read differently than before.
    """

    variables: Any
    temperature: float
    metrics: dict[str, float]
    changed: int


def calibrate(reader: Reader, split: Split) -> Calibrated:
    """Calibrates a reader's network on a split that it was not trained on.

    Raises:
      InputError: see `temperature_of`.
    """
    logits = reader.logits(split.images)
    temperature = temperature_of(logits, split.labels)
    scaled: Any = jax.tree.map(lambda x: jnp.asarray(x / temperature), logits)
    labels, predicted = jnp.asarray(split.labels), decode.decode(scaled).labels
    loss = losses.cross_entropy(scaled, labels, LossConfig())
    sums = metrics.count(predicted, labels, loss, jnp.ones_like(loss))
    changed = (np.asarray(predicted) != np.asarray(decode.decode(logits).labels)).any(axis=1).sum()
    summary = metrics.summarize([jax.device_get(sums)], reader.max_digits)
    variables = scale_heads(reader.variables, temperature, reader.max_digits)
    return Calibrated(variables, temperature, summary, int(changed))


def scale_heads(variables: Any, temperature: float, max_digits: int) -> Any:
    """The network's variables with the linear layers of all heads divided by the temperature: so are the logits."""
    heads = networks.head_names(max_digits)
    params = {
        name: jax.tree.map(lambda x: x / np.float32(temperature), value) if name in heads else value
        for name, value in variables["params"].items()
    }
    return variables | {"params": params}
