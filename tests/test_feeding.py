import dataclasses
import threading

import jax
import numpy as np
import psutil
import pytest
from tiny import CONFIG, mesh_of, random_split

from svhn_jax import feeding
from svhn_jax.errors import InputError
from svhn_jax.training_data import DataOrder, TrainingSet


@pytest.fixture(scope="module")
def data():
    split = random_split(30)
    flat = split.images.reshape(30, -1)
    return TrainingSet((flat[:10], flat[10:]), split.labels, np.arange(30), "")


def batches_of(work, is_streamed, devices):
    """The images and labels of each step of one dispatch, in the order of the global batch."""
    images, labels, rows = map(np.asarray, (work.images, work.labels, work.plan.rows))
    for n in range(work.steps):
        if is_streamed:
            own = rows[n].reshape(devices, -1)  # which image of its own part each device takes
            parts = [part.reshape(devices, -1, *part.shape[2:]) for part in (images, labels)]
            by_device = [part.reshape(len(images), devices, -1, part.shape[-1]) for part in parts]
            yield tuple(
                np.concatenate([part[:, d].reshape(-1, part.shape[-1])[own[d]] for d in range(devices)])
                for part in by_device
            )
        else:
            yield images[rows[n]], labels[rows[n]]


def feed_of(data, devices, per_dispatch, *, is_resident):
    config = dataclasses.replace(CONFIG, batch_size=8, seed=3, steps_per_dispatch=per_dispatch)
    return feeding.Feed(config, data, mesh_of(devices), is_resident=is_resident)


@pytest.mark.parametrize(("devices", "per_dispatch"), [(1, 1), (4, 3)])
@pytest.mark.parametrize("is_resident", [True, False])
def test_every_step_gets_the_images_of_the_order(data, devices, per_dispatch, is_resident, monkeypatch):
    monkeypatch.setattr(feeding, "PLANNED_STEPS", 5)  # so that several plans are sent
    order, step = DataOrder(data.epoch, 8, seed=3), 2
    feed = feed_of(data, devices, per_dispatch, is_resident=is_resident)
    for work in feed.work(2, 20, stops=[10]):
        assert int(work.device_count) == work.steps
        if is_resident:  # the plan began some steps ago
            rows = np.asarray(work.plan.rows)[step - int(work.plan.first_step) :]
            work = work._replace(plan=work.plan._replace(rows=rows))
        else:
            assert int(work.plan.first_step) == step
        for n, (images, labels) in enumerate(batches_of(work, not is_resident, devices)):
            np.testing.assert_array_equal(images, data.take(order.rows(step + n)))
            np.testing.assert_array_equal(labels, data.labels[order.rows(step + n)])
        step += work.steps
    assert step == 20


def test_no_dispatch_goes_past_a_line_a_validation_or_the_end():
    assert list(feeding.groups(0, 11, 4, [5, 6])) == [(0, 4), (4, 1), (5, 1), (6, 4), (10, 1)]
    assert list(feeding.groups(7, 9, 1, [5])) == [(7, 1), (8, 1)]
    assert list(feeding.groups(9, 9, 4, [5])) == []


def test_a_loop_that_ends_early_leaves_no_thread(data):
    work = feed_of(data, 1, 1, is_resident=False).work(0, 1000)
    next(work)
    readers = lambda: [one for one in threading.enumerate() if "reading images" in one.name]  # noqa: E731
    assert readers()
    work.close()
    assert not readers()


def test_a_set_that_does_not_fit_is_told_with_the_remedy(data, monkeypatch):
    def full(values, sharding):
        raise MemoryError

    monkeypatch.setattr(feeding.parallel, "put", full)
    with pytest.raises(InputError, match=r"do not fit; --data\.placement streamed"):
        feed_of(data, 1, 1, is_resident=True)


def test_the_set_is_resident_where_it_takes_at_most_half_of_what_is_free(data, monkeypatch):
    mesh = mesh_of(1)

    def decide(free, placement="auto"):
        available = psutil.virtual_memory()._replace(available=free * jax.local_device_count())
        monkeypatch.setattr(psutil, "virtual_memory", lambda: available)
        return feeding.choose_placement(data, placement, mesh)

    assert decide(2 * data.nbytes).is_resident
    placement = decide(2 * data.nbytes - 2)
    assert not placement.is_resident
    assert "more than half" in placement.reason
    assert decide(2 * data.nbytes - 2, "resident").is_resident
    assert not decide(2 * data.nbytes, "streamed").is_resident
