import dataclasses
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from tiny import CONFIG, mesh_of, random_split

from svhn_jax.training import input_pipeline
from svhn_jax.training.dataset import DataOrder, TrainingSet
from svhn_jax.training.input_pipeline import InputPipeline


@pytest.fixture(scope="module")
def data():
    split = random_split(30)
    flat = split.images.reshape(30, -1)
    return TrainingSet((flat[:10], flat[10:]), split.labels, np.arange(30), "")


def pipeline_of(data, device_count, *, is_resident):
    config = dataclasses.replace(CONFIG, batch_size=8, seed=3)
    return InputPipeline(config, data, mesh_of(device_count), is_resident=is_resident)


@pytest.mark.parametrize("device_count", [1, 4])
@pytest.mark.parametrize("is_resident", [True, False])
def test_every_step_gets_the_images_of_the_order(data, device_count, is_resident):
    order = DataOrder(data.epoch, 8, seed=3)
    batches = list(pipeline_of(data, device_count, is_resident=is_resident).batches(2, 14))
    assert len(batches) == 12
    for step, (images, labels) in enumerate(batches, 2):
        np.testing.assert_array_equal(images, data.take(order.rows(step)))
        np.testing.assert_array_equal(labels, data.labels[order.rows(step)])


def test_a_loop_that_ends_early_leaves_no_thread(data):
    batches = pipeline_of(data, 1, is_resident=False).batches(0, 1000)
    next(batches)
    readers = lambda: [one for one in threading.enumerate() if "reading images" in one.name]  # noqa: E731
    assert readers()
    batches.close()
    assert not readers()


def test_the_set_is_resident_where_it_takes_at_most_half_of_what_is_free(data):
    def decide(free, placement="auto"):
        stats = {"bytes_limit": free + 10, "bytes_in_use": 10} if free else None
        device = SimpleNamespace(memory_stats=lambda: stats)
        mesh = SimpleNamespace(local_devices=[device])
        return input_pipeline.choose_placement(data, placement, mesh)[0]

    assert decide(2 * data.nbytes)
    assert not decide(2 * data.nbytes - 2)
    assert not decide(None)  # a CPU
    assert decide(2 * data.nbytes - 2, "resident")
    assert not decide(2 * data.nbytes, "streamed")
