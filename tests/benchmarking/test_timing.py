import jax.numpy as jnp
import pytest
from tiny import mesh_of

from svhn_jax.benchmarking import timing


def test_a_spread_is_median_least_greatest_and_how_many():
    assert timing.spread([3.0, 1.0, 2.0]) == (2.0, 1.0, 3.0, 3)
    assert str(timing.spread([1234.5])) == "1,234 (1,234 to 1,234)"
    assert str(timing.spread([1.2345, 0.5])) == "0.867 (0.500 to 1.234)"


def test_things_run_in_turn_and_the_first_round_does_not_count():
    called = []

    def run(name):
        called.append(name)
        return len(called)

    results = timing.in_turn({"a": lambda: run("a"), "b": lambda: run("b")}, 2)
    assert called == ["a", "b"] * 3
    assert results == {"a": [3, 5], "b": [4, 6]}


def test_a_ratio_is_taken_within_each_round():
    results = {"ours": [2.0, 9.0, 4.0], "peer": [1.0, 3.0, 4.0]}
    assert timing.ratios(results, "ours", "peer") == (2.0, 1.0, 3.0, 3)


def test_the_ceiling_counts_two_operations_for_each_product_on_every_device(monkeypatch):
    monkeypatch.setattr(
        timing, "seconds", lambda work, *arguments: len(work(*arguments))
    )  # one second a device
    ceiling = timing.matmul_run(jnp.float32, mesh_of(2))()
    assert ceiling == pytest.approx(2 * 1024**3 * timing.PRODUCTS / 1e12)
