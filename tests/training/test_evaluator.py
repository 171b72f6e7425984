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
def test_metrics_and_predictions_do_not_depend_on_batch_size_or_devices(reference, batch_size, device_count):
    metrics, predictions = score(batch_size, device_count)
    assert metrics == pytest.approx(reference[0], rel=1e-5)  # another program: the loss differs by rounding
    # The two most probable numbers of an image are at least 0.015 nats apart: no rounding swaps them.
    np.testing.assert_array_equal(predictions.labels, reference[1].labels)
    np.testing.assert_allclose(predictions.log_p, reference[1].log_p, rtol=1e-5)


def test_every_image_is_predicted_in_order(reference):
    metrics, predictions = reference
    assert [metrics["examples"], *map(len, predictions)] == [23] * 5
    pairs = zip(SPLIT.labels, predictions.labels, strict=True)
    right = [labels.decode(truth) == labels.decode(predicted) for truth, predicted in pairs]
    assert metrics["sequence_accuracy"] == pytest.approx(np.mean(right))
