"""Batch norm that is fast on a CPU: Flax's results up to float32 rounding.

XLA sums each channel over images and positions in one pass, mostly on one thread. Here images are
summed first, with positions and channels side by side: vector operations on all threads; then
positions. The gradient (Ioffe & Szegedy 2015, arXiv:1502.03167, section 3) needs two such sums too.
"""

import functools
import math

import jax
import jax.numpy as jnp
from flax import linen as nn

EPSILON = 1e-5  # added to variances, as Flax does
Arrays = tuple[jax.Array, ...]


class BatchNorm(nn.Module):
    """As `nn.BatchNorm` over the last axis, with the same variables, in float32.

    axis_name: the mesh axis over which statistics and gradients are those of the global batch.
    """

    use_running_average: bool
    momentum: float
    axis_name: str

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """float32[B, ..., C] to the same."""
        shape = x.shape[-1:]
        mean = self.variable("batch_stats", "mean", lambda: jnp.zeros(shape))
        var = self.variable("batch_stats", "var", lambda: jnp.ones(shape))
        scale = self.param("scale", nn.initializers.ones, shape)
        bias = self.param("bias", nn.initializers.zeros, shape)
        if self.use_running_average:
            return _normalized(x, scale, bias, mean.value, var.value)
        y, batch_mean, batch_var = batch_norm(x, scale, bias, self.axis_name)
        if not self.is_initializing():
            mean.value = self.momentum * mean.value + (1 - self.momentum) * batch_mean
            var.value = self.momentum * var.value + (1 - self.momentum) * batch_var
        return y


def batch_norm(x: jax.Array, scale: jax.Array, bias: jax.Array, axis_name: str) -> Arrays:
    """Normalizes this device's float32[b, ..., C]; also mean and variance [C] of the global batch.

    Mean and variance carry no gradient. Runs under `jax.shard_map`.
    """
    y, mean, var = _batch_norm(x, scale, bias, axis_name)
    return y, jax.lax.stop_gradient(mean), jax.lax.stop_gradient(var)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _batch_norm(x: jax.Array, scale: jax.Array, bias: jax.Array, axis_name: str) -> Arrays:
    return _forward(x, scale, bias, axis_name)[0]


def _forward(
    x: jax.Array, scale: jax.Array, bias: jax.Array, axis_name: str
) -> tuple[Arrays, Arrays]:
    mean, mean_square = _global_means(x, x, axis_name)
    var = jnp.maximum(mean_square - mean * mean, 0)
    return (_normalized(x, scale, bias, mean, var), mean, var), (x, scale, mean, var)


def _backward(axis_name: str, saved: Arrays, grads: Arrays) -> Arrays:
    x, scale, mean, var = saved
    grad, inverse = grads[0], jax.lax.rsqrt(var + EPSILON)
    mean_grad, mean_product = _global_means(grad, x, axis_name)
    # The mean of gradient times normalized value.
    slope = (mean_product - mean * mean_grad) * inverse
    factor, ratio = scale * inverse, slope * inverse
    count = _count(x, axis_name)
    x_grad = grad * factor - x * (factor * ratio) + factor * (mean * ratio - mean_grad)
    return x_grad, slope * count, mean_grad * count


_batch_norm.defvjp(_forward, _backward)


def _normalized(
    x: jax.Array, scale: jax.Array, bias: jax.Array, mean: jax.Array, var: jax.Array
) -> jax.Array:
    factor = scale * jax.lax.rsqrt(var + EPSILON)
    return x * factor + (bias - mean * factor)


def _global_means(x: jax.Array, weights: jax.Array, axis_name: str) -> jax.Array:
    """float32[2, C]: of x and of x times weights, over the global batch and all positions."""
    of_images = jnp.stack([x.sum(0), (x * weights).sum(0)]).reshape(2, -1, x.shape[-1])
    # The barrier keeps XLA from merging the two sums.
    sums = jax.lax.optimization_barrier(of_images).sum(1)
    return jax.lax.psum(sums, axis_name) / _count(x, axis_name)


def _count(x: jax.Array, axis_name: str) -> int:
    return math.prod(x.shape[:-1]) * jax.lax.axis_size(axis_name)
