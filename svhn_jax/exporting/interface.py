"""What every exported file takes and gives, whatever its format, and what it says of itself."""

import dataclasses
import json
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from svhn_jax import __version__
from svhn_jax.config import Config
from svhn_jax.data.crop import CropRule
from svhn_jax.inference.reader import Reader
from svhn_jax.labels import BLANK
from svhn_jax.model import decode, inputs, networks
from svhn_jax.model.networks import Logits

INPUT = "crops"
OUTPUTS = ("length", "digits", "confidence", "length_p", "digit_p")
MODEL_CARD = "MODEL_CARD.md"
LICENSE = "The weights have the licence of the photos they learned from; SVHN (Netzer et al. 2011) is for non-commercial use only."


def float32_config(config: Config, convolution: Any = "xla") -> Config:
    """The configuration with which a file is made: float32 throughout, and XLA's own convolution.

    Features in bfloat16 are for accelerators; Winograd's algorithm would spread a convolution over dozens of operations.
    """
    model = dataclasses.replace(config.model, compute_dtype="float32", convolution=convolution)
    return dataclasses.replace(config, model=model)


def logits_of(config: Config, network: nn.Module, variables: Any, crops: jax.Array) -> Logits:
    """The logits for uint8[N, S, S, 3], in true float32 on every device."""
    with jax.default_matmul_precision("highest"):
        logits: Any = network.apply(variables, inputs.center_window(crops, config.image), False)
    return Logits(*logits)


def outputs_of(logits: Logits) -> dict[str, jax.Array]:
    """OUTPUTS by name: int32[N], int32[N, D], float32[N], float32[N], float32[N, D] for numbers of up to D digits."""
    read = decode.decode(logits)
    values = (
        read.labels[:, 0],
        read.labels[:, 1:],
        jnp.exp(read.log_p),
        jnp.exp(read.length_log_p),
        jnp.exp(read.digit_log_p),
    )
    return dict(zip(OUTPUTS, values, strict=True))


def reads(reader: Reader) -> Any:
    """The function that a file computes: uint8[N, S, S, 3] to OUTPUTS by name."""
    config = float32_config(reader.config)
    network = networks.build(config.model)
    return lambda crops: outputs_of(logits_of(config, network, reader.variables, crops))


def descriptions(reader: Reader) -> dict[str, str]:
    """The meaning of the input and of each output."""
    crop, digits = reader.crop, reader.max_digits
    return {
        INPUT: f"uint8[N, {crop.size}, {crop.size}, 3], {crop.color}: the number's box enlarged about its centre by "
        f"{crop.margin:g} of its width and height, beyond the photo's border {_beyond(crop)}, resized to "
        f"{crop.size} x {crop.size} pixels without keeping the aspect ratio ({crop.filter}, antialiased)",
        "length": f"int32[N]: how many digits the number has, 0 to {digits}; {digits + 1}: more than {digits}",
        "digits": f"int32[N, {digits}]: in reading order, 0 to 9; {BLANK}: the number has no such digit",
        "confidence": "float32[N]: the probability of the whole number: length_p times the product of digit_p",
        "length_p": "float32[N]: the probability of the length",
        "digit_p": f"float32[N, {digits}]: the probability of each digit; 1 where the number has no such digit",
    }


def metadata(reader: Reader, precision: str) -> dict[str, str]:
    """What a file says of itself: texts by name; "crop" and "meaning" are JSON."""
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


def _beyond(crop: CropRule) -> str:
    return "the edge pixels repeated" if crop.border == "edge" else crop.border
