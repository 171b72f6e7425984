import jax
import jax.numpy as jnp
import pytest
from tiny import mesh_of

from svhn_jax.training import compilation


@pytest.fixture(autouse=True)
def no_choice_of_the_user(monkeypatch):
    jax.devices()  # JAX has read the variable
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=false")


def test_convolutions_and_sums_on_cpus_are_left_to_xla():
    options = compilation.compiler_options(mesh_of(1))

    def convolution_and_sum(x, kernel):
        y = jax.lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return y, y.sum((0, 1, 2))

    arrays = jnp.ones((64, 14, 14, 48)), jnp.ones((3, 3, 48, 48))
    program = (
        jax.jit(convolution_and_sum, compiler_options=options).lower(*arrays).compile().as_text()
    )
    assert "convolution(" in program
    assert "ynn" not in program
