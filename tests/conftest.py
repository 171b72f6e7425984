"""Eight virtual CPU devices for every test; the settings must stand before jax starts."""

import os
import re
import tempfile
from pathlib import Path

import pytest

# A machine of few cores deadlocks in collectives of many virtual devices unless XLA's thread pool is larger.
os.environ["NPROC"] = "32"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"

# Nothing is written to the caches of the user who runs the tests.
USER_CACHE = tempfile.TemporaryDirectory(prefix="svhn_jax-cache-")
os.environ["XDG_CACHE_HOME"] = USER_CACHE.name

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def one_device_env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a subprocess that runs a command as a user would: on one CPU device."""
    compiled = tmp_path_factory.mktemp("compiled")
    env = os.environ | {"PYTHONPATH": str(REPOSITORY), "COLUMNS": "200", "JAX_COMPILATION_CACHE_DIR": str(compiled)}
    env["XLA_FLAGS"] = re.sub(r"--xla_force_host_platform_device_count=\d+", "", env["XLA_FLAGS"]).strip()
    env.pop("NPROC")
    return env
