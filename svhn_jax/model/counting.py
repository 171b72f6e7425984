"""The size of a network: parameters and multiply-accumulates."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn


def count_params(params: Any) -> int:
    """Number of values in a tree of arrays."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def count_macs(model: nn.Module, image_shape: tuple[int, ...]) -> int:
    """Multiply-accumulates of convolutions and matrix products for one image, padding counted.

    Those of plain convolutions, whatever algorithm the network uses.
    """
    if config := getattr(model, "config", None):
        model = model.clone(config=dataclasses.replace(config, convolution="xla"))
    images = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    variables = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, False), images)
    jaxpr = jax.make_jaxpr(lambda v, x: model.apply(v, x, False))(variables, images)
    return _jaxpr_macs(jaxpr.jaxpr)


def _jaxpr_macs(jaxpr: Any) -> int:
    macs = 0
    for equation in jaxpr.eqns:
        output = equation.outvars[0].aval
        if equation.primitive.name == "conv_general_dilated":
            kernel, numbers = equation.invars[1].aval.shape, equation.params["dimension_numbers"]
            macs += output.size * (equation.invars[1].aval.size // kernel[numbers.rhs_spec[0]])
        elif equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            macs += output.size * math.prod(
                equation.invars[0].aval.shape[axis] for axis in contracted
            )
        for parameter in equation.params.values():
            inner = getattr(parameter, "jaxpr", parameter)
            if hasattr(inner, "eqns"):
                macs += _jaxpr_macs(inner)
    return macs
