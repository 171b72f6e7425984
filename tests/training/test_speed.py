from svhn_jax.training import speed


def test_things_run_in_turn_and_the_first_round_does_not_count():
    called = []

    def run(name):
        called.append(name)
        return len(called)

    results = speed.in_turn({"a": lambda: run("a"), "b": lambda: run("b")}, 2)
    assert called == ["a", "b"] * 3
    assert results == {"a": [3, 5], "b": [4, 6]}
