"""Random keys: the one place that makes them from seeds."""

import jax


def random_key(seed: int) -> jax.Array:
    """A threefry key, whatever JAX_DEFAULT_PRNG_IMPL is: dropout uses its two words.

    The draws also depend on JAX_THREEFRY_PARTITIONABLE, which is on by default.
    """
    return jax.random.key(seed, impl="threefry2x32")
