"""The input, outputs and metadata of every exported file, whatever its format."""

import dataclasses
import json
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from svhn_jax import __version__
from svhn_jax.inference.reader import Reader
from svhn_jax.model import decode, inputs, networks
from svhn_jax.model.networks import Logits

INPUT = "crops"
OUTPUTS = ("length", "digits", "confidence", "length_p", "digit_p")
MODEL_CARD = "MODEL_CARD.md"
LICENSE = (
    "The weights have the licence of the photos they learned from; "
    "SVHN (Netzer et al. 2011) is for non-commercial use only."
)

Outputs = dict[str, np.ndarray]


def reads(reader: Reader) -> Callable[[jax.Array], dict[str, jax.Array]]:
    """The function that a file computes: uint8[N, S, S, 3] to OUTPUTS by name.

    It is float32 on every device, and convolves by XLA: Winograd's algorithm would spread a
    convolution over dozens of operations.
    """
    image, model = reader.config.image, reader.config.model
    model = dataclasses.replace(model, compute_dtype="float32", convolution="xla")
    network = networks.build(model)

    def read(crops: jax.Array) -> dict[str, jax.Array]:
        with jax.default_matmul_precision("highest"):
            window = inputs.center_window(crops, image)
            found = decode.decode(Logits(*network.apply(reader.variables, window, False)))
        return {
            "length": found.labels[:, 0],
            "digits": found.labels[:, 1:],
            "confidence": jnp.exp(found.log_p),
            "length_p": jnp.exp(found.length_log_p),
            "digit_p": jnp.exp(found.digit_log_p),
        }

    return read


def metadata(reader: Reader) -> dict[str, str]:
    """The metadata of a file: texts by name; "crop" is JSON."""
    found = {
        "svhn_jax": __version__,
        "run": reader.config.name,
        "step": str(reader.step),
        "crop": json.dumps(dataclasses.asdict(reader.crop)),
        "license": LICENSE,
    }
    card = reader.folder.path / MODEL_CARD
    return found | ({"model_card": card.read_text()} if card.exists() else {})
