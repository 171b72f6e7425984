"""Photos are read alike within a program that uses JAX with strict settings."""

import contextlib

import jax
import numpy as np
import pytest
from PIL import Image
from tiny import save_run

from svhn_jax.inference.finder import Finder
from svhn_jax.inference.photo_reader import PhotoReader
from svhn_jax.inference.scoring import score_step

SETTINGS = {
    "x64": lambda: jax.enable_x64(True),
    "ranks": lambda: jax.numpy_rank_promotion("raise"),
    "dtypes": lambda: jax.numpy_dtype_promotion("strict"),
    "transfers": lambda: jax.transfer_guard("disallow"),
    "nans": lambda: jax.debug_nans(True),
    "device": lambda: jax.default_device(jax.devices()[3]),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(save_run(tmp_path_factory.mktemp("strict"))[0].path)


def results_of(folder, setting):
    """What a photo reads as, loaded and read within the setting; loaded before it; evaluated."""
    small = np.random.default_rng(3).integers(0, 256, (5, 9, 3), np.uint8)
    photo = Image.fromarray(small).resize((90, 50), Image.Resampling.BICUBIC)
    before, finder = PhotoReader(folder), Finder()
    with setting():
        reader = PhotoReader(folder, finder=finder)
        readings = [reader.read(photo), reader.read(photo, (30, 10, 40, 22)), before.read(photo)]
        found = Finder().find(photo)
        scored = score_step(folder, "validation")
    return readings, found, scored.metrics


@pytest.fixture(scope="module")
def wanted(folder):
    return results_of(folder, contextlib.nullcontext)


@pytest.mark.parametrize("name", SETTINGS)
def test_readings_and_metrics_are_the_same(folder, wanted, name):
    assert results_of(folder, SETTINGS[name]) == wanted
