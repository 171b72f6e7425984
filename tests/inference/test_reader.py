"""Reading crops with a saved step."""

import json
import shutil

import numpy as np
import pytest
from tiny import mesh_of, random_split, save_run

from svhn_jax.inference.reader import Reader
from svhn_jax.model import networks
from svhn_jax.training import evaluator
from svhn_jax.training.evaluator import score_split


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return save_run(tmp_path_factory.mktemp("reader"))


def test_it_reads_as_evaluation_does_whatever_the_number_of_crops(run):
    folder, config, state = run
    split = random_split(10)
    reader = Reader(str(folder.path), batch_size=4)
    assert (reader.step, reader.crop.margin) == (7, 0.3)
    eval_step = evaluator.compile_eval_step(config, networks.build(config.model), mesh_of(1))
    _, wanted = score_split(eval_step, state.eval_variables(), split, 8, mesh_of(1))
    read = reader.read(split.images)
    np.testing.assert_array_equal(read.labels, wanted.labels)
    np.testing.assert_allclose(read.log_p, wanted.log_p, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(reader.read(split.images[3:4]).log_p, read.log_p[3:4])


def test_the_weights_of_a_version_without_max_digits_read_five(run, tmp_path):
    older = tmp_path / "older"
    shutil.copytree(run[0].path, older)
    settings = json.loads((older / "config.json").read_text())
    assert settings["model"].pop("max_digits") == 5
    (older / "config.json").write_text(json.dumps(settings))
    assert Reader(str(older)).max_digits == 5


def test_the_probability_of_what_it_reads_is_its_confidence(run):
    reader = Reader(str(run[0].path), "7")
    images = random_split(3, seed=2).images
    read = reader.read(images)
    np.testing.assert_allclose(reader.log_p(images, read.labels), read.log_p, rtol=1e-4, atol=1e-5)
    other = read.labels.copy()
    other[:, 1] = (other[:, 1] + 1) % 10
    assert (reader.log_p(images, other) < read.log_p).all()
