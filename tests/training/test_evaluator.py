import jax
import numpy as np
import pytest
from tiny import CONFIG, mesh_of, random_split

from svhn_jax import labels
from svhn_jax.model import decode, inputs, networks
from svhn_jax.training import devices, evaluator
from svhn_jax.training import state as states
from svhn_jax.training.evaluator import score_split
from svhn_jax.training.reader_task import ReaderTask

SPLIT = random_split(23, seed=3)


def score(batch_size, device_count):
    mesh, network = mesh_of(device_count), networks.build(CONFIG.model)
    first = jax.jit(lambda: states.create(ReaderTask(CONFIG)))()
    variables = devices.put(jax.device_get(first.eval_variables()), devices.replicated(mesh))
    return score_split(
        evaluator.compile_eval_step(CONFIG, network, mesh), variables, SPLIT, batch_size, mesh
    )


@pytest.fixture(scope="module")
def reference():
    return score(512, 1)


@pytest.mark.parametrize(
    ("batch_size", "device_count"), [(7, 1), (1, 1), (23, 1), (512, 8), (7, 8)]
)
def test_metrics_and_predictions_do_not_depend_on_batch_size_or_devices(
    reference, batch_size, device_count
):
    metrics, predictions = score(batch_size, device_count)
    assert metrics == pytest.approx(
        reference[0], rel=1e-5
    )  # another program: the loss differs by rounding
    # The closest choice is 0.015 nats wide: no rounding turns it.
    np.testing.assert_array_equal(predictions.labels, reference[1].labels)
    for ours, theirs in zip(predictions[1:], reference[1][1:], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_every_image_is_read_in_order(reference):
    metrics, predictions = reference
    assert metrics["examples"] == len(predictions.labels) == 23
    read = map(labels.decode, predictions.labels)
    right = [labels.decode(truth) == text for truth, text in zip(SPLIT.labels, read, strict=True)]
    assert metrics["sequence_accuracy"] == pytest.approx(np.mean(right))


def test_averaged_views_are_the_mean_of_the_logits_of_shifted_windows():
    mesh, network = mesh_of(1), networks.build(CONFIG.model)
    variables = jax.jit(lambda: states.create(ReaderTask(CONFIG)))().eval_variables()
    step = evaluator.compile_eval_step(CONFIG, network, mesh, views=5)
    metrics, predictions = score_split(step, variables, SPLIT, 8, mesh)
    images = np.asarray(
        SPLIT.images
    )  # of 24 pixels; the network sees 20, so that a shift of 3 ends after 2
    read = []
    for down, right in ((0, 0), (2, 0), (-2, 0), (0, 2), (0, -2)):
        window = images[:, 2 + down : 22 + down, 2 + right : 22 + right].astype(np.float32) / 255
        read.append(network.apply(variables, inputs.prepare(window, CONFIG.image), False))
    mean = networks.Logits(*(np.mean(part, axis=0) for part in zip(*read, strict=True)))
    wanted = decode.decode(mean)
    np.testing.assert_array_equal(predictions.labels, wanted.labels)
    np.testing.assert_allclose(predictions.log_p, wanted.log_p, atol=1e-4)
    assert metrics["sequence_accuracy"] == pytest.approx(
        (wanted.labels == SPLIT.labels).all(axis=1).mean()
    )
    assert not np.allclose(predictions.log_p, score(8, 1)[1].log_p, atol=1e-4)
