"""Settings of the compiler: fast programs on CPUs, its cache on disk, and the same results in every run on a GPU."""

import functools
import os
import platform

import jax
from jax.sharding import Mesh

from svhn_jax import files

# Names the kinds of operation that XLA hands to the library YNNPACK on CPUs; "" hands it none.
YNN = "xla_cpu_experimental_ynn_fusion_type"


def compiler_options(mesh: Mesh) -> dict[str, str]:
    """The options of `jax.jit` for a step on this mesh: on CPUs, convolutions and sums by XLA's own code.

    JAX 0.10 to 0.12 give them to YNNPACK, which was slower for our networks (docs/performance.md has the whole step before and after). Whoever
    names that option in XLA_FLAGS decides it; a JAX that does not have it gets no option.
    """
    if (
        mesh.devices.flat[0].platform != "cpu"
        or YNN in os.environ.get("XLA_FLAGS", "")
        or not _is_option(YNN)
    ):
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


def enable_compilation_cache() -> None:
    """Keeps compiled programs on disk, so that the same command starts faster the next time.

    The folder is compiled/HOST in ~/.cache/svhn_jax: one per machine, because a program compiled for one kind of CPU may
    not run on another. JAX_COMPILATION_CACHE_DIR names another; JAX_ENABLE_COMPILATION_CACHE=false keeps nothing.
    If the cache is not writable, nothing is cached.
    """
    if os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return
    try:
        folder = files.user_cache() / "compiled" / platform.node()
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))


def make_deterministic() -> None:
    """Makes XLA use only deterministic operations on GPUs. Call before JAX first uses a device.

    Otherwise XLA times several kernels for an operation and takes the fastest, and sums with atomic additions, so that
    two runs of one program differ by rounding. See https://openxla.org/xla/determinism.
    """
    os.environ["XLA_FLAGS"] = (
        f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true".strip()
    )
