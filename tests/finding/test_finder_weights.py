import io
import json
import zipfile

import jax
import numpy as np
import pytest

from svhn_jax import files
from svhn_jax.errors import InputError
from svhn_jax.finding import network, weights
from svhn_jax.finding.config import FinderConfig
from svhn_jax.model.randomness import random_key

CONFIG = FinderConfig(width=8, blocks=1)


@pytest.fixture
def folder(tmp_path):
    weights.save(
        tmp_path, CONFIG, jax.device_get(network.init_variables(CONFIG, random_key(1))), 0.25
    )
    return tmp_path


def test_what_was_saved_is_loaded_to_float16s_precision(folder):
    saved = jax.device_get(network.init_variables(CONFIG, random_key(1)))
    trained = weights.load(folder)
    assert (trained.config, trained.least_score) == (CONFIG, 0.25)
    assert jax.tree.structure(trained.variables) == jax.tree.structure(saved)
    for a, b in zip(jax.tree.leaves(trained.variables), jax.tree.leaves(saved), strict=True):
        assert a.dtype == np.float32
        np.testing.assert_array_equal(a, weights.as_saved(b))
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6)


def test_saving_twice_gives_the_same_bytes(folder, tmp_path):
    before = (folder / weights.WEIGHTS).read_bytes()
    weights.save(
        folder, CONFIG, jax.device_get(network.init_variables(CONFIG, random_key(1))), 0.25
    )
    assert (folder / weights.WEIGHTS).read_bytes() == before


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def other_network(folder):
    about = json.loads((folder / weights.SETTINGS).read_text())
    about["config"]["width"] = 16
    (folder / weights.SETTINGS).write_text(json.dumps(about))


def bomb(folder):
    """An array of 16 TiB, as its header says: it must not be unpacked."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f2", "fortran_order": False, "shape": (2**43,)}
    )
    with zipfile.ZipFile(folder / weights.WEIGHTS, "a") as archive:
        archive.writestr("bomb.npy", header.getvalue())
    about = json.loads((folder / weights.SETTINGS).read_text())
    about["sha256"] = files.sha256(folder / weights.WEIGHTS)
    (folder / weights.SETTINGS).write_text(json.dumps(about))


DAMAGES = {
    "no weights": (lambda folder: (folder / weights.WEIGHTS).unlink(), "no such file"),
    "no settings": (lambda folder: (folder / weights.SETTINGS).unlink(), "no such file"),
    "a flipped bit": (lambda folder: flip(folder / weights.WEIGHTS), "its checksum is not"),
    "cut settings": (
        lambda folder: (folder / weights.SETTINGS).write_text('{"config": {'),
        "damaged",
    ),
    "a list": (lambda folder: (folder / weights.SETTINGS).write_text("[]"), "damaged"),
    "a wrong field": (
        lambda folder: (folder / weights.SETTINGS).write_text('{"config": {"widht": 3}}'),
        "damaged",
    ),
    "an array too many": (bomb, "not the arrays of the network"),
    "settings of another network": (other_network, "not the arrays of the network"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_one_line_that_names_the_file_and_the_remedy(folder, name):
    damage, words = DAMAGES[name]
    damage(folder)
    with pytest.raises(InputError, match=words) as caught:
        weights.load(folder)
    assert str(folder) in str(caught.value)
    assert "train_finder" in str(caught.value)
    assert "\n" not in str(caught.value)
