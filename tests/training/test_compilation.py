from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
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


def test_whoever_names_the_option_in_xla_flags_decides_it(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", f"--{compilation.YNN}=LIBRARY_FUSION_TYPE_DOT")
    assert compilation.compiler_options(mesh_of(1)) == {}


def test_a_jax_without_the_option_compiles_without_it(monkeypatch):
    monkeypatch.setattr(compilation, "YNN", "xla_cpu_no_such_option")
    assert compilation.compiler_options(mesh_of(1)) == {}


def test_other_platforms_get_no_option_of_cpus():
    gpu = SimpleNamespace(devices=np.array([SimpleNamespace(platform="gpu")]))
    assert compilation.compiler_options(gpu) == {}
