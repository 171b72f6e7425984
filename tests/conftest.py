"""Eight virtual CPU devices and one cache of compiled programs; set before jax is imported."""

import os
import re
import signal
import tempfile
from pathlib import Path

import pytest

# Many virtual devices on few cores deadlock in collectives unless XLA's thread pool is larger.
os.environ["NPROC"] = "32"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
# A shell ignores SIGINT in what it starts in the background, and every child would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Nothing is written to the caches of the user who runs the tests.
USER_CACHE = tempfile.TemporaryDirectory(prefix="svhn_jax-cache-")
os.environ["XDG_CACHE_HOME"] = USER_CACHE.name

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache of compiled programs: new in each session, shared with subprocesses.

    LLVM's optimizations, half of the compile time, are off in this process; subprocesses run as for
    a user. XLA's own passes stay.
    """
    import jax

    folder = tmp_path_factory.mktemp("compiled")
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_disable_most_optimizations", True)
    return folder


@pytest.fixture(scope="session")
def one_device_env(compiled: Path) -> dict[str, str]:
    """The environment of a subprocess that runs a command as a user would: on one CPU device."""
    env = os.environ | {
        "PYTHONPATH": str(REPOSITORY),
        "COLUMNS": "200",
        "JAX_COMPILATION_CACHE_DIR": str(compiled),
    }
    env["XLA_FLAGS"] = re.sub(
        r"--xla_force_host_platform_device_count=\d+", "", env["XLA_FLAGS"]
    ).strip()
    env.pop("NPROC")
    return env


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Of `-n auto`: one worker for each core this process may use, at most 4."""
    return min(4, len(os.sched_getaffinity(0)))
