"""A saved step as StableHLO, by jax.export: for JAX without svhn_jax, on CPUs, GPUs and TPUs, any batch size.

read = jax.export.deserialize(bytearray(Path("pretrained.stablehlo").read_bytes()))
read.call(crops)["confidence"]  # the names of svhn_jax.exporting.interface
"""

from collections.abc import Iterator
from contextlib import contextmanager

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from svhn_jax.exporting import interface
from svhn_jax.inference.reader import Reader

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
PATHS = "jax_traceback_in_locations_limit"


def build(reader: Reader) -> bytes:
    """The artefact of a reader's step, weights included, in float32."""
    reads = interface.reads(reader)

    def svhn_jax_reads(crops: jax.Array) -> dict[str, jax.Array]:  # its name is in the file
        return reads(crops)

    shape = export.symbolic_shape(f"N, {reader.crop.size}, {reader.crop.size}, 3")
    crops = jax.ShapeDtypeStruct(shape, jnp.uint8)
    with _no_source_paths():
        return bytes(export.export(jax.jit(svhn_jax_reads), platforms=PLATFORMS)(crops).serialize())


def run(content: bytes, crops: np.ndarray) -> dict[str, np.ndarray]:
    """The outputs by name of an artefact for uint8[N, S, S, 3]."""
    found: dict[str, np.ndarray] = jax.device_get(
        export.deserialize(bytearray(content)).call(crops)
    )
    return found


@contextmanager
def _no_source_paths() -> Iterator[None]:
    """Leaves the paths of this machine's Python files, which each operation would name, out of the file."""
    before = getattr(jax.config, PATHS)
    jax.config.update(PATHS, 0)
    try:
        yield
    finally:
        jax.config.update(PATHS, before)
