"""A saved step as StableHLO, by jax.export: for JAX without svhn_jax, on CPUs, GPUs and TPUs.

read = jax.export.deserialize(bytearray(Path("reader.stablehlo").read_bytes()))
read.call(crops)["confidence"]  # the names of svhn_jax.exporting.interface
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from svhn_jax.exporting import interface
from svhn_jax.exporting.interface import Outputs
from svhn_jax.inference.reader import Reader

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
SOURCES = "jax_traceback_in_locations_limit"


def build(reader: Reader) -> bytes:
    """The file of a reader's step, weights included, in float32, for any batch size."""
    shape = export.symbolic_shape(f"N, {reader.crop.size}, {reader.crop.size}, 3")
    crops = jax.ShapeDtypeStruct(shape, jnp.uint8)
    before = getattr(jax.config, SOURCES)
    jax.config.update(SOURCES, 0)  # else each operation names Python files of this machine
    try:
        return bytes(
            export.export(jax.jit(interface.reads(reader)), platforms=PLATFORMS)(crops).serialize()
        )
    finally:
        jax.config.update(SOURCES, before)


def run(content: bytes, crops: np.ndarray) -> Outputs:
    """The outputs by name of a file for uint8[N, S, S, 3]."""
    found: Outputs = jax.device_get(export.deserialize(bytearray(content)).call(crops))
    return found
