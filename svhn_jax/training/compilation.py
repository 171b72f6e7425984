"""Settings of the compiler: its cache on disk, and results that are the same in every run on a GPU."""

import os
import platform

import jax

from svhn_jax import files


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
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true".strip()
