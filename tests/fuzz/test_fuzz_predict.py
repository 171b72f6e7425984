"""The fuzzer of svhn_jax.predict: a few hostile pictures of every kind, and that its verdicts are what they should be."""

import importlib
import json
import random

import pytest
from archives import REPOSITORY, png, run_python

FUZZ = REPOSITORY / "tests/fuzz"


@pytest.fixture
def fuzz(monkeypatch):
    """Imports a module of the fuzzer by its name."""
    monkeypatch.syspath_prepend(str(FUZZ))
    return importlib.import_module


def test_sixty_hostile_pictures_are_answered():
    finished = run_python(
        FUZZ / "fuzz_predict.py", "--pictures", "60", "--at-once", "30", "--seed", "0"
    )
    figures = json.loads(finished.stdout.splitlines()[-1])
    assert (finished.returncode, figures["pictures"], figures["failures"]) == (0, 60, 0), (
        finished.stdout
    )
    assert figures["read"] + figures["refused"] + figures["passed_over"] == 60


HEADER = "file,reading,confidence\n"
SOUND = "raw/0000.png,102,0.500000\n"
JSON = '{"file": "raw/0000.png", "reading": "102", "confidence": 0.5}\n'
REFUSED = "error: raw/0001.png: damaged image; copy it again\n"


@pytest.fixture
def judge(fuzz, tmp_path):
    """What is said of a run that wrote a CSV file and printed something, asked to read 0000.png and 0001.png."""
    scenes, answers, verdict = fuzz("fuzz_scene"), fuzz("fuzz_answers"), fuzz("fuzz_verdict")
    material = scenes.Material({"1.png": png()}, [], {"ours": scenes.Mat(b"", (), (), 0)}, tmp_path)
    scene = scenes.Scene(tmp_path / "case", random.Random(0), material)
    scene.set_up()
    before = verdict.snapshot(scene)

    def call(table=HEADER + SOUND, stdout=JSON, stderr=REFUSED, touch=None, **named):
        (scene.to.parent / "readings.csv").write_text(table)
        if touch:
            (scene.folder / touch).write_text("changed")
        values = {"status": 1, "seconds": 1.0, "megabytes": 100.0, "is_late": False} | named
        run = fuzz("fuzz_run").Run(stdout=stdout, stderr=stderr, **values)
        found = answers.answers(scene, run, is_json=True)
        return [
            *found.problems,
            *answers.problems(scene, run, found, before, ["0000.png", "0001.png"]),
        ]

    return call


def test_one_reading_and_one_line_are_no_problem(judge):
    assert judge() == []


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"stderr": ""}, "ended with status 1, though it refused 0 pictures"),
        ({"status": 0}, "ended with status 0, though it refused 1 pictures"),
        ({"status": -11}, "ended with status -11"),
        ({"stderr": "", "status": 0}, "0 answers to '0001.png'"),
        ({"stderr": REFUSED * 2}, "2 answers to '0001.png'"),
        ({"stderr": REFUSED + REFUSED.replace("0001", "0000")}, "2 answers to '0000.png'"),
        (
            {"stderr": REFUSED + "Fontconfig warning\n"},
            "a strange line of error: 'Fontconfig warning'",
        ),
        (
            {"stderr": REFUSED + REFUSED.replace("0001", "0002")},
            "answers to what nobody asked: {'0002'}",
        ),
        (
            {"stderr": REFUSED + "Traceback (most recent call last):\nKeyError: 7\n"},
            "a traceback: KeyError: 7",
        ),
        ({"stderr": REFUSED.replace("copy", "\x1b[2J")}, "control characters in what is printed"),
        ({"table": HEADER + SOUND * 2, "stdout": JSON * 2}, "two readings of '0000.png'"),
        ({"table": HEADER + SOUND.replace("102", "1o2")}, "'0000.png': a strange reading"),
        ({"stdout": JSON.replace("0.5", "0.6")}, "'0000.png': CSV has"),
        ({"stdout": ""}, "CSV and JSON have not the same photos"),
        ({"touch": "outside/secret.txt"}, "changed 'outside/secret.txt'"),
        ({"touch": "out/readings.csv.1.partial"}, "created 'out/readings.csv.1.partial'"),
        ({"is_late": True}, "took more than 120 s"),
        ({"megabytes": 2001.0}, "took 2001 MB"),
    ],
)
def test_what_a_run_does_wrong_is_told(judge, how, words):
    assert any(problem.startswith(words) for problem in judge(**how)), judge(**how)
