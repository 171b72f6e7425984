"""Temperature scaling (Guo et al. 2017, arXiv:1706.04599): one number that makes a network's confidence match its accuracy."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize

from svhn_jax.inference.reader import Reader
from svhn_jax.labels import MAX_DIGITS
from svhn_jax.model import decode
from svhn_jax.model.networks import Logits

HEADS = ("length", *(f"digit{n}" for n in range(1, 1 + MAX_DIGITS)))
LIMITS = (-3.0, 3.0)  # of the temperature's logarithm


def temperature_of(logits: Logits, labels: np.ndarray) -> float:
    """The temperature T at which logits / T give the labels int32[N, 6] the greatest mean log-probability."""

    @jax.jit
    def loss(log_temperature: jax.Array) -> jax.Array:
        scaled: Any = jax.tree.map(lambda x: x / jnp.exp(log_temperature), logits)
        return -decode.log_p_of(scaled, jnp.asarray(labels)).mean()

    found = optimize.minimize_scalar(lambda x: float(loss(x)), bounds=LIMITS, method="bounded")
    return float(np.exp(found.x))


def fit(reader: Reader, images: np.ndarray, labels: np.ndarray) -> float:
    """The temperature of a reader's network on uint8[N, S, S, 3] that it was not trained on, with labels int32[N, 6]."""
    return temperature_of(reader.logits(images), labels)


def cooled(variables: Any, temperature: float) -> Any:
    """The network's variables with the linear layers of all heads divided by the temperature: so are the logits."""
    params = {
        name: jax.tree.map(lambda x: x / np.float32(temperature), value) if name in HEADS else value
        for name, value in variables["params"].items()
    }
    return variables | {"params": params}
