"""Temperature scaling (Guo et al. 2017, arXiv:1706.04599): makes confidence match accuracy."""

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
from svhn_jax.model.settings import own_settings

LIMITS = (-3.0, 3.0)  # of the temperature's logarithm


@own_settings()
def temperature_of(logits: Logits, labels: np.ndarray) -> float:
    """The temperature T: logits / T give labels int32[N, 1 + D] the greatest mean log-probability.

    Raises:
      InputError: there is none between e^-3 and e^3, as for a network that has not learned.
    """

    @jax.jit
    def loss(log_temperature: jax.Array) -> jax.Array:
        scaled = _scaled(logits, jnp.exp(log_temperature))
        return -decode.log_p_of(scaled, jnp.asarray(labels)).mean()

    found = optimize.minimize_scalar(lambda x: float(loss(x)), bounds=LIMITS, method="bounded")
    if min(abs(found.x - limit) for limit in LIMITS) < 0.01:
        raise InputError(
            "no temperature calibrates this step on these photos, which are too few, or read no "
            "better than chance; give --data, or --temperature 1"
        )
    return float(np.exp(found.x))


class Calibrated(NamedTuple):
    """A network whose confidence is calibrated.

    variables: of the network. temperature: its logits were divided by. metrics: on the photos it
    was calibrated on, as training saves them. changed: how many of these are read differently.
    """

    variables: Any
    temperature: float
    metrics: dict[str, float]
    changed: int


@own_settings()
def calibrate(reader: Reader, split: Split, temperature: float = 0.0) -> Calibrated:
    """Calibrates a reader's network on photos that it was not trained on; temperature 0: fitted.

    The linear layers of all heads, and so the logits, are divided by the temperature; InputError
    as in `temperature_of`.
    """
    logits, labels = reader.logits(split.images), jnp.asarray(split.labels)
    temperature = temperature or temperature_of(logits, split.labels)
    scaled = _scaled(logits, temperature)
    before, after = decode.decode(logits).labels, decode.decode(scaled).labels
    loss = losses.cross_entropy(scaled, labels, LossConfig())
    sums = metrics.count(after, labels, loss, jnp.ones_like(loss))
    params = reader.variables["params"]
    heads = {
        name: jax.tree.map(lambda x: x / np.float32(temperature), params[name])
        for name in networks.head_names(reader.max_digits)
    }
    return Calibrated(
        reader.variables | {"params": params | heads},
        temperature,
        metrics.summarize([jax.device_get(sums)], reader.max_digits),
        int((before != after).any(axis=1).sum()),
    )


def _scaled(logits: Logits, temperature: Any) -> Logits:
    return Logits(*(jnp.asarray(part / temperature) for part in logits))
