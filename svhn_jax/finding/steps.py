"""The finder's train step: a pure function of one device's part of a batch, and how it is compiled."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, PartitionSpec

from svhn_jax.finding import losses, network
from svhn_jax.finding.config import SCENE, WINDOW, FinderConfig
from svhn_jax.model.inputs import to_gray
from svhn_jax.model.layers import AXIS
from svhn_jax.model.randomness import random_key
from svhn_jax.training import compilation, optimizer
from svhn_jax.training.state import TrainState, average_decay

REPLICATED, SHARDED = PartitionSpec(), PartitionSpec(AXIS)
EDGE = 0.1  # of the window: a number's centre is not nearer to its sides
# Strengths of the change of colour, drawn for each window: chosen by eye, so that numbers stay legible.
GAIN, CAST, OFFSET, SATURATION = 0.5, 0.12, 0.15, 0.7


def create(config: FinderConfig, variables: Any = None) -> TrainState:
    """The state before the first step, of variables, or of random ones from the config's seed; to be jitted."""
    variables = variables or network.init_variables(config, random_key(config.seed))
    params, batch_stats = jax.tree.map(jnp.asarray, (variables["params"], variables["batch_stats"]))
    ema = {"params": params, "batch_stats": batch_stats}
    return TrainState(
        jnp.int32(0), params, batch_stats, optimizer.optimizer(config.optimizer).init(params), ema
    )


def train_step(
    state: TrainState, scenes: jax.Array, boxes: jax.Array, *, config: FinderConfig
) -> tuple[TrainState, jax.Array]:
    """One update. Runs on each device, under `jax.shard_map`.

    What happens to a scene depends on (config.seed, state.step, its position in the global batch) alone.

    Args:
      state: the same on every device.
      scenes: uint8[b, SCENE, SCENE, 3], this device's part of the global batch.
      boxes: float32[b, 4], as of `scenes.Scene`.

    Returns:
      The state after the update, and float32[3] of the global batch: the loss of a positive cell's score and of its box,
      and the number of positive cells.
    """
    positions = jax.lax.axis_index(AXIS) * len(scenes) + jnp.arange(len(scenes))
    step_key = jax.random.fold_in(random_key(config.seed), state.step)
    keys = jax.vmap(lambda position: jax.random.fold_in(step_key, position))(positions)
    windows, moved = jax.vmap(random_window)(scenes, boxes, keys)

    def loss_fn(params: Any) -> tuple[jax.Array, Any]:
        variables = {"params": params, "batch_stats": state.batch_stats}
        applied: Any = network.build(config).apply(
            variables, windows, True, mutable=["batch_stats"]
        )
        maps, updated = applied
        score, box, count = jax.lax.psum(losses.loss(maps, moved), AXIS)
        score, box = score / jnp.maximum(count, 1), box / jnp.maximum(count, 1)
        return score + losses.BOX_WEIGHT * box, (
            jnp.stack([score, box, count]),
            updated["batch_stats"],
        )

    (_, (parts, batch_stats)), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
    direction, opt_state = optimizer.optimizer(config.optimizer).update(
        grads, state.opt_state, state.params
    )
    rate = optimizer.schedule(config.optimizer, config.steps)(state.step)
    params = optax.apply_updates(state.params, jax.tree.map(lambda x: -rate * x, direction))
    step = state.step + 1
    decay = average_decay(step, config.ema_decay)
    ema = optax.incremental_update(
        {"params": params, "batch_stats": batch_stats}, state.ema, 1 - decay
    )
    return TrainState(step, params, batch_stats, opt_state, ema), parts


def random_window(scene: jax.Array, box: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A window of uint8[SCENE, SCENE, 3] at a random place and of other colours, normalized; and its number's box.

    Where the scene has a number, the window holds its centre.
    """
    for_place, for_color = jax.random.split(key)
    corner = _random_corner(box, for_place)
    window = jax.lax.dynamic_slice(scene, (corner[1], corner[0], 0), (WINDOW, WINDOW, 3))
    u = jax.random.uniform(for_color, (9,), minval=-1.0)
    pixels = network.normalized(window)
    gray = to_gray(pixels)
    pixels = gray + (pixels - gray) * (1 + SATURATION * u[0])
    pixels = pixels * jnp.exp(GAIN * u[1] + CAST * u[2:5]) + 2 * (
        OFFSET * u[5] + OFFSET / 3 * u[6:9]
    )
    outside = (window == 128).all(-1, keepdims=True)  # the grey of the canvas stays as it is
    return jnp.where(outside, 0.0, jnp.clip(pixels, -2, 2)), box - jnp.tile(corner, 2)


def _random_corner(box: jax.Array, key: jax.Array) -> jax.Array:
    """int32[2]: x and y of the window's corner in the scene."""
    center, most = (box[:2] + box[2:]) / 2, SCENE - WINDOW
    low = jnp.where(jnp.isnan(center), 0, jnp.clip(center - (1 - EDGE) * WINDOW, 0, most))
    high = jnp.where(jnp.isnan(center), most, jnp.clip(center - EDGE * WINDOW, 0, most))
    return jnp.round(low + (high - low) * jax.random.uniform(key, (2,))).astype(jnp.int32)


def compile_train_step(config: FinderConfig, mesh: Mesh) -> Callable[..., Any]:
    """`train_step` on every device of the mesh: (state, scenes, boxes) -> (state, parts). Donates the state."""

    def step(
        state: TrainState, scenes: jax.Array, boxes: jax.Array
    ) -> tuple[TrainState, jax.Array]:
        return train_step(state, scenes, boxes, config=config)

    mapped = jax.shard_map(
        step, mesh=mesh, in_specs=(REPLICATED, SHARDED, SHARDED), out_specs=(REPLICATED, REPLICATED)
    )
    return jax.jit(mapped, donate_argnums=0, compiler_options=compilation.compiler_options(mesh))
