"""Settings of the compiler: its cache on disk, and results that are the same in every run on a GPU."""

import os
import platform
from pathlib import Path

import jax


def keep_compiled() -> None:
    """Has JAX keep on disk what it compiles, so that the same command starts faster the next time.

    In ~/.cache/svhn_jax/compiled/HOST, one folder for each machine, because what is compiled for a CPU suits its kind
    alone; where JAX_COMPILATION_CACHE_DIR is set, there. JAX_ENABLE_COMPILATION_CACHE=false keeps nothing, nor does a
    home that cannot be written.
    """
    home = os.path.expanduser("~")
    if os.path.isabs(home) and not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        folder = Path(home) / ".cache" / "svhn_jax" / "compiled" / platform.node()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            return
        jax.config.update("jax_compilation_cache_dir", str(folder))


def make_deterministic() -> None:
    """Has XLA use only deterministic operations on GPUs; to be called before JAX first uses a device.

    Otherwise XLA times several kernels for an operation and takes the fastest, and sums with atomic additions, so that
    two runs of one program differ by rounding. See https://openxla.org/xla/determinism.
    """
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true".strip()
