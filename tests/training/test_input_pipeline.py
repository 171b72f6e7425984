import dataclasses
import math
import threading
from concurrent.futures import Future
from contextlib import nullcontext

import jax
import numpy as np
import psutil
import pytest
from tiny import CONFIG, mesh_of, random_split

from svhn_jax.errors import InputError
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
def test_every_step_gets_the_images_of_the_order(data, device_count, is_resident, monkeypatch):
    monkeypatch.setattr(input_pipeline, "ROWS_SENT_STEPS", 5)  # so that rows are sent several times
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


class _SynchronousPool:
    """Does at once what is submitted, and counts it."""

    submitted = 0

    def submit(self, work, *arguments):
        self.submitted += 1
        done = Future()
        done.set_result(work(*arguments))
        return done


@pytest.mark.parametrize(("limit_batches", "ahead"), [(100, 4), (2.5, 2), (0.5, 1)])
def test_batches_read_ahead_are_bounded_in_number_and_bytes(
    data, monkeypatch, limit_batches, ahead
):
    monkeypatch.setattr(
        input_pipeline, "READ_AHEAD_BYTES", int(limit_batches * 8 * data.parts[0].shape[1])
    )
    pipeline, pool = pipeline_of(data, 1, is_resident=False), _SynchronousPool()
    monkeypatch.setattr(input_pipeline, "ThreadPoolExecutor", lambda *_: nullcontext(pool))
    monkeypatch.setattr(pipeline, "_read", lambda step: step)
    for step, taken in enumerate(pipeline.batches(0, 20)):
        assert taken == step
        assert pool.submitted == min(step + ahead, 20)  # this one and those ahead of it


def test_a_set_that_does_not_fit_is_told_with_the_remedy(data, monkeypatch):
    def full(values, sharding):
        raise MemoryError

    monkeypatch.setattr(input_pipeline.devices, "put", full)
    with pytest.raises(InputError, match=r"--data\.placement streamed"):
        pipeline_of(data, 1, is_resident=True)


def test_the_set_is_resident_where_it_takes_at_most_half_of_what_is_free(data, monkeypatch):
    mesh = mesh_of(1)

    monkeypatch.setattr(input_pipeline, "_container_free_bytes", lambda: math.inf)

    def decide(free, placement="auto"):
        available = psutil.virtual_memory()._replace(available=free * jax.local_device_count())
        monkeypatch.setattr(psutil, "virtual_memory", lambda: available)
        return input_pipeline.choose_placement(data, placement, mesh)

    assert decide(2 * data.nbytes).is_resident
    placement = decide(2 * data.nbytes - 2)
    assert not placement.is_resident
    assert "more than half" in placement.reason
    assert decide(2 * data.nbytes - 2, "resident").is_resident
    assert not decide(2 * data.nbytes, "streamed").is_resident


@pytest.mark.parametrize(
    ("group", "limits", "free"),
    [
        ("/", {"": (1000, 300, 100)}, 800),  # a container sees its own group as the root
        ("/pod/app", {"pod/app": ("max", 300, 0), "pod": (1000, 900, 0)}, 100),  # a parent's limit
        ("/", {}, math.inf),
    ],
)
def test_the_limits_of_a_container_count(tmp_path, monkeypatch, group, limits, free):
    (tmp_path / "proc").write_text(f"0::{group}\n")
    for name, (limit, usage, inactive) in limits.items():
        folder = tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text(f"{usage}\n")
        (folder / "memory.stat").write_text(f"anon 1\ninactive_file {inactive}\n")
    monkeypatch.setattr(input_pipeline, "CGROUPS", tmp_path)
    monkeypatch.setattr(input_pipeline, "OWN_CGROUP", tmp_path / "proc")
    assert input_pipeline._container_free_bytes() == free
