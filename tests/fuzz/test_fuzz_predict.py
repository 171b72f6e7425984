"""A few hostile pictures of every kind, and that a wrong answer would be noticed."""

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


def test_missing_second_and_foreign_answers_are_noticed(fuzz_predict):
    kinds = dict.fromkeys(("0000.png", "0001.png", "0002.png"), "PNG")
    found = fuzz_predict._wrong_answers({*kinds}, {"0001.png"}, ["0001", "0002", "0003"], kinds)
    assert [one.split(" (")[0] for one in found] == [
        "0 answers to '0000.png'",
        "2 answers to '0001.png'",
        "an answer to nothing: '0003'",
    ]
