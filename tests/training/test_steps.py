import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import CONFIG, mesh_of, random_split

from svhn_jax.model import augment, losses, metrics, networks
from svhn_jax.training import devices, steps
from svhn_jax.training.dataset import DataOrder, TrainingSet
from svhn_jax.training.input_pipeline import InputPipeline
from svhn_jax.training.reader_task import ReaderTask

SGD = dataclasses.replace(
    CONFIG,
    optimizer=dataclasses.replace(
        CONFIG.optimizer,
        algorithm="sgd",
        learning_rate=0.05,
        schedule="constant",
        warmup_fraction=0.0,
        weight_decay=0.0,
    ),
)


def fresh_state(config):
    return jax.device_get(jax.jit(lambda: steps.create(ReaderTask(config)))())


def run_steps(count, device_count, config=SGD, start=None, *, is_streamed=False, total_steps=100):
    """State and losses after `count` steps on random data."""
    split, mesh = random_split(40), mesh_of(device_count)
    current = devices.put(start or fresh_state(config), devices.replicated(mesh))
    done = int(current.step)
    halves = split.images.reshape(40, -1)[:15], split.images.reshape(40, -1)[15:]
    data = TrainingSet(halves, split.labels, np.arange(40), "")
    train_step = steps.compile_train_step(ReaderTask(config), total_steps, mesh)
    rows = []
    for batch in InputPipeline(config, data, mesh, is_resident=not is_streamed).batches(
        done, done + count
    ):
        current, step_sums = train_step(current, *batch)
        rows.append(step_sums)
    assert train_step._cache_size() == 1
    return jax.device_get(current), [
        metrics.summarize([row], CONFIG.model.max_digits)["loss"] for row in rows
    ]


@pytest.fixture(scope="module")
def one_device():
    return run_steps(6, 1)


def test_eight_devices_give_the_losses_and_batch_statistics_of_one(one_device):
    (state_1, losses_1), (state_8, losses_8) = one_device, run_steps(6, 8)
    np.testing.assert_allclose(losses_8, losses_1, rtol=1e-5)
    for one, eight in zip(
        jax.tree.leaves(state_1.batch_stats), jax.tree.leaves(state_8.batch_stats), strict=True
    ):
        np.testing.assert_allclose(eight, one, rtol=1e-4, atol=1e-5)
    for one, eight in zip(
        jax.tree.leaves(state_1.params), jax.tree.leaves(state_8.params), strict=True
    ):
        np.testing.assert_allclose(eight, one, rtol=1e-2, atol=1e-3)  # a ReLU that flips


def test_the_update_is_the_gradient_of_the_mean_loss_of_the_whole_batch():
    """Against jax.grad of the plain loss over the 16 images on one device, one step of SGD."""
    config = dataclasses.replace(
        SGD,
        optimizer=dataclasses.replace(SGD.optimizer, ema_decay=0.0, learning_rate=1.0, beta1=0.0),
    )
    network, first = networks.build(config.model), fresh_state(config)
    after, _ = run_steps(1, 4, config, first)
    split = random_split(40)
    rows = DataOrder(np.arange(40), config.batch_size, config.seed).rows(0)
    step_key = jax.random.fold_in(jax.random.key(config.seed), 0)
    keys = jnp.stack(
        [
            jax.random.split(jax.random.fold_in(step_key, position))[0]
            for position in range(len(rows))
        ]
    )
    images = augment.random_window(split.images[rows], keys, config.image, config.augment)

    def loss(params):
        with_axis = jax.shard_map(  # one device, for the axis name of the batch norms
            lambda params, x: network.apply(
                {"params": params, "batch_stats": first.batch_stats},
                x,
                True,
                mutable=["batch_stats"],
            )[0],
            mesh=mesh_of(1),
            in_specs=(steps.REPLICATED, steps.SHARDED),
            out_specs=steps.SHARDED,
        )
        logits = with_axis(params, images)
        return losses.cross_entropy(logits, split.labels[rows], config.loss).mean()

    grads = jax.grad(loss)(first.params)
    moved = jax.tree.map(lambda old, new: old - new, first.params, after.params)
    for expected, got in zip(jax.tree.leaves(grads), jax.tree.leaves(moved), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("device_count", [1, 4])
def test_streamed_and_resident_runs_are_the_same(device_count, one_device):
    """To the bit, because one compiled step serves both, from equal batches."""
    resident = one_device if device_count == 1 else run_steps(6, device_count)
    streamed = run_steps(6, device_count, is_streamed=True)
    assert streamed[1] == resident[1]
    jax.tree.map(np.testing.assert_array_equal, streamed[0], resident[0])


def test_golden_step(one_device):
    """Of this model, data and seed. Update it when a change of the mathematics is intended."""
    assert one_device[1][0] == pytest.approx(GOLDEN_FIRST_LOSS, rel=1e-4)
    assert one_device[1][5] == pytest.approx(GOLDEN_SIXTH_LOSS, rel=1e-3)


GOLDEN_FIRST_LOSS, GOLDEN_SIXTH_LOSS = 9.0933, 8.9125


def test_no_default_generator_of_jax_changes_what_a_seed_gives():
    train_step = steps.compile_train_step(ReaderTask(SGD), 10, mesh_of(1))
    state = jax.eval_shape(lambda: steps.create(ReaderTask(SGD)))
    images, labels = (
        jax.ShapeDtypeStruct((16, 24 * 24 * 3), "uint8"),
        jax.ShapeDtypeStruct((16, 6), "int32"),
    )
    programs = []
    for generator in ("threefry2x32", "rbg"):
        with jax.default_prng_impl(generator):
            programs.append(str(jax.make_jaxpr(lambda: steps.create(ReaderTask(SGD)))()))
            programs.append(str(train_step.trace(state, images, labels).jaxpr))
    assert programs[:2] == programs[2:]


def test_running_average_starts_fast_and_ends_at_its_decay():
    ema = {"w": jnp.zeros(())}
    assert float(steps.average(ema, {"w": jnp.ones(())}, 1, 0.9)["w"]) == pytest.approx(1 - 2 / 11)
    assert float(steps.average(ema, {"w": jnp.ones(())}, 10_000, 0.9)["w"]) == pytest.approx(0.1)
    assert steps.average({}, {"w": jnp.ones(())}, 1, 0.9) == {}
