"""python benchmarks/roofline.py: what a training step of each configuration costs, and how fast one H200 could do it at most.

Nothing is run. The shapes of all convolutions and matrix products come from the traced forward pass of one image; from them:

arithmetic:  6 floating-point operations for each multiply-accumulate, forwards and two gradients.
products:    bytes that convolutions and matrix products read and write: 3 times their inputs and outputs.
elementwise: 8 passes over each convolution's output (batch norm and ReLU: statistics 1, forwards 2, backwards 5), and 4 over
             each residual block's (shortcut), each fused as well as can be. Pooling, augmentation and loss are left out.
params:      kernels in bfloat16 for the three products, gradient, moments and averages in float32; shared by the batch.

Features are bfloat16. The ceilings were measured on an H200 by matrix products and copies of random values.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from rich.console import Console
from rich.table import Table

from svhn_jax import config_files
from svhn_jax.config import Config
from svhn_jax.model import counting, inputs, networks

CONFIGS = Path(__file__).parent.parent / "configs"
FLOPS, BYTES = 790e12, 4.3e12  # a second
LEAST_BATCH = 512
FEATURE_BYTES, PARAM_BYTES = 2, 4
NORM_PASSES, SHORTCUT_PASSES = 8, 4
# Reads and writes of float32 values for each param: cast, gradient, optimizer. AdamW has two moments, SGD one.
UPDATE_PASSES = {"adamw": 10, "sgd": 8}
AVERAGE_PASSES = 2


@dataclass(frozen=True)
class Cost:
    """Of one image in training."""

    flops: float
    product_bytes: float
    elementwise_bytes: float
    param_bytes: float

    @property
    def by_arithmetic(self) -> float:
        """Images/s, were there nothing but arithmetic."""
        return FLOPS / self.flops

    @property
    def by_memory(self) -> float:
        """Images/s, were there nothing but memory traffic."""
        return BYTES / (self.product_bytes + self.elementwise_bytes + self.param_bytes)

    @property
    def bound(self) -> float:
        """Images/s if products take the longer of their arithmetic and traffic, and all other traffic comes after."""
        products_s = max(self.flops / FLOPS, self.product_bytes / BYTES)
        return 1 / (products_s + (self.elementwise_bytes + self.param_bytes) / BYTES)

    @property
    def share(self) -> float:
        """Of the arithmetic ceiling, at `bound`."""
        return self.bound / self.by_arithmetic


def cost(config: Config, batch_size: int) -> Cost:
    """Of one image in a batch of so many."""
    network = networks.build(dataclasses.replace(config.model, convolution="xla"))
    images = jax.ShapeDtypeStruct((1, *inputs.input_shape(config.image)), jnp.float32)
    variables = jax.eval_shape(lambda x: network.init(jax.random.key(0), x, False), images)
    jaxpr = jax.make_jaxpr(lambda v, x: network.apply(v, x, False))(variables, images)
    sizes = _products(jaxpr.jaxpr)
    convolved = sum(output for kind, _, output in sizes if kind == "conv_general_dilated")
    passes = NORM_PASSES * convolved
    if config.model.architecture == "resnet":
        passes += SHORTCUT_PASSES * _block_outputs(config)
    update = UPDATE_PASSES[config.optimizer.algorithm] + AVERAGE_PASSES * bool(
        config.optimizer.ema_decay
    )
    return Cost(
        flops=6 * counting.count_macs(network, inputs.input_shape(config.image)),
        product_bytes=3 * FEATURE_BYTES * sum(before + output for _, before, output in sizes),
        elementwise_bytes=FEATURE_BYTES * passes,
        param_bytes=PARAM_BYTES * update * counting.count_params(variables["params"]) / batch_size,
    )


def _products(jaxpr: Any) -> list[tuple[str, int, int]]:
    """Of each convolution and matrix product its name and the numbers of values of its first input and its output."""
    found = []
    for equation in jaxpr.eqns:
        if equation.primitive.name in ("conv_general_dilated", "dot_general"):
            found.append(
                (
                    equation.primitive.name,
                    equation.invars[0].aval.size,
                    equation.outvars[0].aval.size,
                )
            )
        for parameter in equation.params.values():
            inner = getattr(parameter, "jaxpr", parameter)
            if hasattr(inner, "eqns"):
                found += _products(inner)
    return found


def _block_outputs(config: Config) -> int:
    """Values that all residual blocks put out for one image."""
    size = -(-(config.image.resize or config.image.crop) // config.model.patch)
    values = 0
    for stage, blocks in enumerate(config.model.blocks):
        size = -(-size // 2) if stage else size
        values += blocks * size**2 * config.model.width * 2**stage
    return values


def main() -> None:
    table = Table(
        title="Training on one H200, counted, nothing run: 790 TFLOP/s of bfloat16, 4.3 TB/s"
    )
    for title in (
        "config, batch",
        "GFLOP",
        "MB: products + elementwise + params",
        "compute",
        "memory",
        "bound",
        "share",
    ):
        table.add_column(title, justify="right")
    for path in sorted(CONFIGS.glob("*.py")):
        config = config_files.load(path)
        batch_size = max(LEAST_BATCH, config.batch_size)
        one = cost(config, batch_size)
        parts = " + ".join(
            f"{n / 1e6:.1f}" for n in (one.product_bytes, one.elementwise_bytes, one.param_bytes)
        )
        rates = (f"{rate / 1e3:,.0f}k" for rate in (one.by_arithmetic, one.by_memory, one.bound))
        table.add_row(
            f"{path.name}, {batch_size}",
            f"{one.flops / 1e9:.2f}",
            parts,
            *rates,
            f"{one.share:.0%}",
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
