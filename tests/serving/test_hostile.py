"""The server on the hostile pictures of the fuzzer of svhn_jax.predict: each costs one line at most."""

import importlib
import random

import pytest
from archives import REPOSITORY, png
from serving_material import picture, running, wait_for_requests


@pytest.fixture
def contents(monkeypatch, tmp_path, request):
    """The bytes of so many hostile pictures, less those that are links, folders or pipes."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "tests/fuzz"))
    pictures, scenes = (
        importlib.import_module("fuzz_pictures"),
        importlib.import_module("fuzz_scene"),
    )
    photos = {f"{n}.png": png(size=(40 + n, 24)) for n in range(1, 5)}
    material = scenes.Material(photos, [], {"ours": scenes.Mat(b"", (), (), 0)}, tmp_path)
    scene = scenes.Scene(tmp_path / "case", random.Random(0), material)
    scene.set_up()
    kinds = pictures.kinds(request.param, random.Random(0))
    made = (
        pictures.put(scene, kind, index)
        for index, kind in enumerate(kinds)
        if kind != pictures.NO_FILE
    )
    return [path.read_bytes() for path in made]


@pytest.mark.parametrize(
    "contents", [80, pytest.param(2000, marks=pytest.mark.slow)], indirect=True
)
def test_hostile_pictures_cost_one_line_and_the_next_is_read(contents):
    statuses = {200: 0, 400: 0, 413: 0, 422: 0}
    with running() as server:
        for content in contents:
            answer = server.read(content)
            statuses[answer.status] += 1
            if answer.status == 200:
                assert answer.json["reading"] == "42"
                continue
            assert [*answer.json] == ["error"]
            assert answer.json["error"].isprintable()
            assert len(answer.json["error"]) < 300
        assert server.read(picture(40, 20)).status == 200
        wait_for_requests(server, 0)  # a place is given back after the answer
    assert min(statuses[200], statuses[422]) >= len(contents) // 10
