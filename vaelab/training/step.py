"""One training step, and many of them in one dispatch."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from vaelab.models import Model
from vaelab.training.averaging import update_average
from vaelab.training.objectives import Objective
from vaelab.training.state import ORDER, TrainState
from vaelab.types import Array, Examples, Preprocess, PRNGKey, as_examples


def train_step(
    state: TrainState,
    batch: Examples | Array,
    key: PRNGKey,
    *,
    model: Model,
    objective: Objective,
    tx: optax.GradientTransformation,
) -> tuple[TrainState, dict[str, Array]]:
    """One saddle-point update on a batch of examples, and the metrics of that batch, each []."""
    examples = as_examples(batch)

    def loss_fn(variables):
        bound = model.at(variables.params)
        return objective(bound, variables.multipliers, examples, key, state.step)

    gradients, metrics = jax.grad(loss_fn, has_aux=True)(state.variables)
    updates, opt_state = tx.update(gradients, state.opt_state, state.variables)
    variables = optax.apply_updates(state.variables, updates)
    for name, multiplier in variables.multipliers.items():
        metrics[f"average/{name}"] = opt_state.average[name]
        metrics[f"multiplier/{name}"] = multiplier
    if variables.multipliers:
        metrics["feasible_once"] = opt_state.feasible_once.astype(jnp.float32)
    step = state.step + 1
    ema = update_average(state.ema, variables.params, step)
    state = state._replace(step=step, variables=variables, opt_state=opt_state, ema=ema)
    return state, metrics


def train_steps(
    state: TrainState,
    data: Examples | Array,
    *,
    num_steps: int,
    batch_size: int,
    model: Model,
    objective: Objective,
    tx: optax.GradientTransformation,
    preprocess: Preprocess,
    mesh: Mesh,
) -> tuple[TrainState, dict[str, Array]]:
    """`num_steps` training steps as one scan, with the whole training set on the device.

    The data, images [N, ...] or examples -> the state and, per step, its metrics [num_steps]. Each
    epoch draws its batches without replacement (the rest of N modulo the batch size is left out,
    another rest each time).
    Order and noise depend on (state.key, step) alone, so it makes no difference where a run was
    interrupted, or how steps are grouped into dispatches. The batch is split over the mesh's axis
    `data`; means over it are global ones.
    """
    data = as_examples(data)
    num_examples = len(data.x)
    steps_per_epoch = num_examples // batch_size
    batch_sharding = NamedSharding(mesh, PartitionSpec("data"))

    def permutation(step: Array) -> Array:
        key = jax.random.fold_in(jax.random.fold_in(state.key, ORDER), step // steps_per_epoch)
        return jax.random.permutation(key, num_examples)

    def body(carry, _):
        state, order = carry
        position = state.step % steps_per_epoch
        order = jax.lax.cond(position == 0, permutation, lambda _: order, state.step)
        batch = jax.lax.dynamic_slice_in_dim(order, position * batch_size, batch_size)
        examples = jax.lax.with_sharding_constraint(data.take(batch), batch_sharding)
        preprocess_key, key = jax.random.split(jax.random.fold_in(state.key, state.step))
        examples = examples._replace(x=preprocess(preprocess_key, examples.x))
        state, metrics = train_step(state, examples, key, model=model, objective=objective, tx=tx)
        return (state, order), metrics

    carry = (state, permutation(state.step))
    (state, _), metrics = jax.lax.scan(body, carry, None, length=num_steps)
    return state, metrics


def compile_train_steps(**settings):
    """`train_steps` jitted, its state donated: (state, data, *, num_steps) -> (state, metrics)."""
    run = partial(train_steps, **settings)
    return jax.jit(run, static_argnames="num_steps", donate_argnums=0)
