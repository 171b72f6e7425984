"""The cache of compiled steps."""

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
