"""Settings of the compiler, for fast programs on CPUs."""

import functools
import os

import jax
from jax.sharding import Mesh

# Names the kinds of operation that XLA gives to the library YNNPACK on CPUs; "": none.
YNN = "xla_cpu_experimental_ynn_fusion_type"


def compiler_options(mesh: Mesh) -> dict[str, str]:
    """The options of `jax.jit` for a step on this mesh: on CPUs, convolutions by XLA's own code.

    JAX 0.10 to 0.12 give them to YNNPACK, which was slower for our networks
    (docs/performance.md). A value in XLA_FLAGS wins. Unknown to this JAX version: not set.
    """
    is_cpu = mesh.devices.flat[0].platform == "cpu"
    if not is_cpu or YNN in os.environ.get("XLA_FLAGS", "") or not _is_option(YNN):
        return {}
    return {YNN: ""}


@functools.cache
def _is_option(name: str) -> bool:
    """Whether this JAX knows an option of the compiler."""
    try:
        jax.jit(lambda: 0, compiler_options={name: ""}).lower().compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True
