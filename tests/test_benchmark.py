"""The command that measures a configuration, in process."""

import json

from tiny import CONFIG, write_config

from svhn_jax import benchmark, cli

ROUNDS = ("--rounds", "2", "--seconds", "0.05", "--images", "3", "--image.crop", "66", "--json")


def test_it_measures_training_alone_and_with_its_input(tmp_path, capfd):
    write_config(tmp_path, CONFIG)
    command = ("--config", str(tmp_path / "tiny.py"), *ROUNDS)
    assert cli.call(benchmark.Options, benchmark.main, command) == 0
    figures = json.loads(capfd.readouterr().out)
    for name in (benchmark.ALONE, "train, resident", "train, streamed", benchmark.CEILING):
        rate = figures[name]
        assert 0 < rate["low"] <= rate["median"] <= rate["high"]
        assert rate["n"] == 2
    assert figures["device"] == "8 x cpu"
