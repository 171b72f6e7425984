import jax
import numpy as np
import pytest
from tiny import CONFIG, mesh_of, random_split

from svhn_jax import labels
from svhn_jax.model import networks
from svhn_jax.training import devices, steps
from svhn_jax.training import state as states
from svhn_jax.training.evaluator import score_split

SPLIT = random_split(23, seed=3)


def score(batch_size, device_count):
    mesh, network = mesh_of(device_count), networks.build(CONFIG.model)
    first = jax.jit(lambda: states.create(CONFIG, network))()
    variables = devices.put(jax.device_get(first.eval_variables()), devices.replicated(mesh))
    return score_split(steps.compile_eval_step(CONFIG, network, mesh), variables, SPLIT, batch_size, mesh)


@pytest.fixture(scope="module")
def reference():
    return score(512, 1)


@pytest.mark.parametrize(("batch_size", "device_count"), [(7, 1), (1, 1), (23, 1), (512, 8), (7, 8)])
def test_figures_and_readings_do_not_depend_on_batch_size_or_devices(reference, batch_size, device_count):
    figures, readings = score(batch_size, device_count)
    assert figures == pytest.approx(reference[0], rel=1e-5)  # another program: the loss differs by rounding
    np.testing.assert_array_equal(readings, reference[1])  # the closest choice is 0.015 nats wide: no rounding turns it


def test_every_image_is_read_in_order(reference):
    figures, readings = reference
    assert figures["examples"] == len(readings) == 23
    right = [labels.decode(truth) == labels.decode(read) for truth, read in zip(SPLIT.labels, readings, strict=True)]
    assert figures["sequence_accuracy"] == pytest.approx(np.mean(right))
