"""A few hostile pictures of every kind."""

import importlib

import pytest
from archives import REPOSITORY

from svhn_jax.output import Terminal


@pytest.fixture
def fuzz_predict(monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "tests/fuzz"))
    return importlib.import_module("fuzz_predict")


def test_sixty_hostile_pictures_are_answered(fuzz_predict, capsys):
    options = fuzz_predict.Options(pictures=60, at_once=30)
    status = fuzz_predict.main(options, Terminal())
    assert status == 0, capsys.readouterr().out
