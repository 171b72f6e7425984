"""python benchmarks/gpu_check.py: whether JAX and PyTorch can both use the GPU here, and if not, why.

Each computes one bfloat16 convolution, and the two results are compared. Then the stems of the configurations are timed with
their own number of input channels and with that number padded to 8 or 16, to show whether padding would pay. The last
line is JSON. With --cpu it accepts CPUs.
"""

import json
import os
import subprocess
import sys
from importlib import import_module, metadata
from typing import Any

import numpy as np

PACKAGES = (
    "flax", "optax", "orbax.checkpoint", "h5py", "rich", "etils.epath", "PIL", "tyro", "typeguard", "docstring_parser",
    "tensorboardX",
)  # fmt: skip
STEMS = {
    "configs/full.py": (18, 27, 192, 3),
    "configs/potterhsu.py": (54, 3, 48, 5),
    "configs/demo.py": (14, 48, 48, 3),
}


def main() -> int:
    is_cpu = sys.argv[1:] == ["--cpu"]
    found: dict[str, Any] = {"python": sys.version.split()[0]}
    problems = [f"{name} is not installed" for name in PACKAGES if not _can_import(name)]
    if not is_cpu:
        problems += _driver_problems()
    problems += _problems_of("jax", _jax_problems, is_cpu, found) + _problems_of(
        "torch", _torch_problems, is_cpu, found
    )
    if not problems:
        problems += _convolution_problems(found)
    if problems:
        print(*(f"error: {problem}" for problem in problems), sep="\n", file=sys.stderr)
        return 1
    found["stem_ms"] = {name: _stem_times(*shape, is_cpu=is_cpu) for name, shape in STEMS.items()}
    print(json.dumps(found))
    return 0


def _can_import(name: str) -> bool:
    try:
        import_module(name)
    except ImportError:
        return False
    return True


def _problems_of(name: str, check: Any, is_cpu: bool, found: dict[str, Any]) -> list[str]:
    """What keeps a library from its GPU; a library may fail in any way there."""
    try:
        return check(is_cpu, found)
    except Exception as error:
        return [f"{name}: {type(error).__name__}: {error}"]


def _driver_problems() -> list[str]:
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    except OSError as error:
        return [f"driver: nvidia-smi cannot be run ({error.strerror})"]
    return (
        [f"driver: {(done.stdout + done.stderr).strip()}"]
        if done.returncode or "GPU" not in done.stdout
        else []
    )


def _jax_problems(is_cpu: bool, found: dict[str, Any]) -> list[str]:
    import jax

    found |= {
        "jax": jax.__version__,
        "jax_devices": [device.device_kind for device in jax.devices()],
    }
    if is_cpu or jax.default_backend() == "gpu":
        return []
    if platforms := os.environ.get("JAX_PLATFORMS"):
        return [f"jax: JAX_PLATFORMS is {platforms!r}; unset it"]
    names = [one.metadata["Name"] for one in metadata.distributions()]
    plugins = [name for name in names if name and name.lower().startswith("jax-cuda")]
    if not plugins:
        return [
            f"jax {jax.__version__} sees no GPU: no CUDA plugin is installed; pip install 'jax[cuda13]'"
        ]
    try:
        jax.devices("cuda")
    except RuntimeError as error:
        return [f"jax sees no GPU with {', '.join(plugins)}: {error}"]
    return [f"jax computes on {jax.default_backend()}"]


def _torch_problems(is_cpu: bool, found: dict[str, Any]) -> list[str]:
    import torch

    found |= {
        "torch": torch.__version__,
        "torch_cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }
    if is_cpu or torch.cuda.is_available():
        return []
    if not torch.version.cuda:
        return [f"torch {torch.__version__} is a build without CUDA"]
    torch.cuda.init()  # raises, and says why
    return ["torch sees no GPU"]


def _convolution_problems(found: dict[str, Any]) -> list[str]:
    """One bfloat16 convolution on each side, of the same arrays; a tenth of a percent is bfloat16's own rounding."""
    import jax
    import jax.numpy as jnp
    import torch

    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(8, 14, 14, 16)), rng.normal(size=(3, 3, 16, 32))
    numbers = ("NHWC", "HWIO", "NHWC")
    on_jax = jax.lax.conv_general_dilated(
        jnp.asarray(x, jnp.bfloat16),
        jnp.asarray(kernel, jnp.bfloat16),
        (1, 1),
        "SAME",
        dimension_numbers=numbers,
    )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    images, weight = (torch.tensor(one, dtype=torch.bfloat16, device=device) for one in (x, kernel))
    on_torch = torch.nn.functional.conv2d(
        images.permute(0, 3, 1, 2), weight.permute(3, 2, 0, 1), padding=1
    )
    one, other = np.asarray(on_jax, np.float32), on_torch.permute(0, 2, 3, 1).float().cpu().numpy()
    difference = float(np.abs(one - other).max() / np.abs(other).max())
    found["difference_of_bfloat16_convolutions"] = difference
    return (
        []
        if difference < 0.02
        else [f"a bfloat16 convolution differs by {difference:.1%} between jax and torch"]
    )


def _stem_times(
    size: int, channels: int, features: int, kernel: int, *, is_cpu: bool
) -> dict[str, float]:
    """Milliseconds of a stem's convolution and its kernel's gradient in bfloat16, by the number of input channels."""
    import jax
    import jax.numpy as jnp

    from svhn_jax.benchmarking import timing

    batch, count = (2, 1) if is_cpu else (1024, 50)

    def output(x: jax.Array, weights: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(
            x, weights, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    @jax.jit
    def both(x: jax.Array, weights: jax.Array) -> tuple[jax.Array, jax.Array]:
        y, pull_back = jax.vjp(lambda weights: output(x, weights), weights)
        return y, pull_back(y)[0]

    def run_of(padded: int) -> Any:
        x = jax.random.normal(jax.random.key(0), (batch, size, size, padded), jnp.bfloat16)
        weights = jax.random.normal(
            jax.random.key(1), (kernel, kernel, padded, features), jnp.bfloat16
        )
        return lambda: (
            1e3 / count * timing.seconds(lambda: [both(x, weights) for _ in range(count)])
        )

    widths = {channels, *(width for width in (8, 16) if width > channels)}
    taken = timing.in_turn({str(width): run_of(width) for width in sorted(widths)}, 3)
    return {width: timing.spread(values).median for width, values in taken.items()}


if __name__ == "__main__":
    sys.exit(main())
