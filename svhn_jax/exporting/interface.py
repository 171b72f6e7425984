"""The input, outputs and metadata of every exported file, whatever its format."""

import dataclasses
import json
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from svhn_jax import __version__
from svhn_jax.inference.reader import Reader
from svhn_jax.labels import BLANK
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


def descriptions(reader: Reader) -> dict[str, str]:
    """The meaning of the input and of each output."""
    crop, most = reader.crop, reader.max_digits
    side, beyond = crop.size, "the edge pixels repeated" if crop.border == "edge" else crop.border
    return {
        INPUT: f"uint8[N, {side}, {side}, 3], {crop.color}: the number's box enlarged about its "
        f"centre by {crop.margin:g} of its width and height, beyond the photo's border {beyond}, "
        f"resized to {side} x {side} pixels without keeping the aspect ratio "
        f"({crop.filter}, antialiased)",
        "length": f"int32[N]: number of digits, 0 to {most}; {most + 1}: more than {most}",
        "digits": f"int32[N, {most}]: in reading order, 0 to 9; {BLANK}: no such digit",
        "confidence": "float32[N]: probability of the whole number: length_p times the product of "
        "digit_p",
        "length_p": "float32[N]: probability of the length",
        "digit_p": f"float32[N, {most}]: probability of each digit; 1 where there is no such digit",
    }


def metadata(reader: Reader, precision: str) -> dict[str, str]:
    """The metadata of a file: texts by name; "crop" and "meaning" are JSON."""
    found = {
        "svhn_jax": __version__,
        "run": reader.config.name,
        "step": str(reader.step),
        "precision": precision,
        "crop": json.dumps(dataclasses.asdict(reader.crop)),
        "meaning": json.dumps(descriptions(reader)),
        "license": LICENSE,
    }
    card = reader.folder.path / MODEL_CARD
    return found | ({"model_card": card.read_text()} if card.exists() else {})
