"""The settings and random keys that this package computes with, whatever the program has set."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import jax


@contextmanager
def own_settings() -> Iterator[None]:
    """Within the block, in this thread, JAX computes as this package was written and tested for.

    32 bits, default promotion of ranks and dtypes, transfers allowed, no check for NaN: a program
    with strict settings (JAX_ENABLE_X64 and others) gets the same numbers. Also a decorator.
    """
    with ExitStack() as stack:
        for setting in (
            jax.enable_x64(False),
            jax.numpy_rank_promotion("allow"),
            jax.numpy_dtype_promotion("standard"),
            jax.debug_nans(False),
            jax.debug_infs(False),
            jax.transfer_guard("allow"),
        ):
            stack.enter_context(setting)
        yield


def random_key(seed: int) -> jax.Array:
    """A threefry key, whatever JAX_DEFAULT_PRNG_IMPL is: dropout uses its two words."""
    return jax.random.key(seed, impl="threefry2x32")
