import jax.numpy as jnp
import pytest
from tiny import mesh_of

from svhn_jax.training import speed


def test_things_run_in_turn_and_the_first_round_does_not_count():
    called = []

    def run(name):
        called.append(name)
        return len(called)

    results = speed.in_turn({"a": lambda: run("a"), "b": lambda: run("b")}, 2)
    assert called == ["a", "b"] * 3
    assert results == {"a": [3, 5], "b": [4, 6]}


def test_the_ceiling_counts_two_operations_for_each_product_on_every_device(monkeypatch):
    monkeypatch.setattr(
        speed, "seconds", lambda work, *arguments: len(work(*arguments))
    )  # one second a device
    ceiling = speed.matmul_run(jnp.float32, mesh_of(2))()
    assert ceiling == pytest.approx(2 * 1024**3 * speed.PRODUCTS / 1e12)
