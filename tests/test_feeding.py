import jax
import numpy as np
import psutil
import pytest
from tiny import mesh_of, random_split

from svhn_jax import feeding
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


@pytest.mark.parametrize(("devices", "per_dispatch"), [(1, 1), (4, 3)])
def test_resident_and_streamed_bring_the_images_of_the_order(data, devices, per_dispatch, monkeypatch):
    monkeypatch.setattr(feeding, "PLANNED_STEPS", 5)  # so that several plans are sent
    order, mesh = DataOrder(data.epoch, 8, seed=3), mesh_of(devices)
    groups = list(feeding.groups(2, 20, per_dispatch, [10]))
    for is_streamed in (False, True):
        step = 2
        work_to_do = (
            feeding.streamed(data, order, groups, mesh, per_dispatch)
            if is_streamed
            else feeding.resident(feeding.on_devices(data, mesh), order, groups, mesh)
        )
        for work in work_to_do:
            first = int(work.plan.first_step)
            rows = np.asarray(work.plan.rows)
            assert int(work.length) == work.steps
            if not is_streamed:  # the plan began some steps ago
                work = work._replace(plan=work.plan._replace(rows=rows[step - first :]))
            for n, (images, labels) in enumerate(batches_of(work, is_streamed, devices)):
                np.testing.assert_array_equal(images, data.take(order.rows(step + n)))
                np.testing.assert_array_equal(labels, data.labels[order.rows(step + n)])
            step += work.steps
        assert step == 20


def test_no_dispatch_goes_past_a_line_a_validation_or_the_end():
    assert list(feeding.groups(0, 11, 4, [5, 6])) == [(0, 4), (4, 1), (5, 1), (6, 4), (10, 1)]
    assert list(feeding.groups(7, 9, 1, [5])) == [(7, 1), (8, 1)]
    assert list(feeding.groups(9, 9, 4, [5])) == []


def test_a_loop_that_ends_early_leaves_no_thread(data):
    work = feeding.streamed(data, DataOrder(data.epoch, 8, 0), feeding.groups(0, 1000, 1, ()), mesh_of(1), 1)
    next(work)
    work.close()
    with pytest.raises(StopIteration):
        next(work)


def test_the_set_is_resident_where_it_takes_at_most_half_of_what_is_free(data, monkeypatch):
    mesh = mesh_of(1)

    def decide(free, placement="auto"):
        available = psutil.virtual_memory()._replace(available=free * jax.local_device_count())
        monkeypatch.setattr(psutil, "virtual_memory", lambda: available)
        return feeding.is_resident(data, placement, mesh)

    assert decide(2 * data.nbytes)[0]
    is_resident, why = decide(2 * data.nbytes - 2)
    assert not is_resident
    assert "more than half" in why
    assert decide(2 * data.nbytes - 2, "resident")[0]
    assert not decide(2 * data.nbytes, "streamed")[0]
