"""One training step, and many of them in one dispatch."""

from __future__ import annotations

from functools import partial
from typing import cast

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from vaelab.checks import UsageError
from vaelab.models import Model
from vaelab.training.averaging import update_average
from vaelab.training.objectives import Objective
from vaelab.training.sharding import state_shardings
from vaelab.training.sources import Source
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
    # 0, unless the transformation skips steps: `saddle.skip_nonfinite`.
    metrics["nonfinite"] = 1.0 - (opt_state.step - state.opt_state.step)
    step = state.step + 1
    # Steps that are skipped do not count.
    made = opt_state.step > state.opt_state.step
    average = update_average(state.ema, variables.params, jnp.maximum(opt_state.step, 1))
    ema = jax.tree.map(lambda new, old: jnp.where(made, new, old), average, state.ema)
    state = state._replace(step=step, variables=variables, opt_state=opt_state, ema=ema)
    return state, metrics


def train_steps(
    state: TrainState,
    source: Source,
    *,
    num_steps: int | Array,
    model: Model,
    objective: Objective,
    tx: optax.GradientTransformation,
    preprocess: Preprocess,
    mesh: Mesh,
    sharded: bool = False,
    capacity: int | None = None,
) -> tuple[TrainState, dict[str, Array]]:
    """`num_steps` training steps as one loop over batches of the source.

    Returns the state and the metrics of each step, [num_steps]. Order and noise depend on
    (state.key, step) alone. So the result does not depend on where a run was interrupted, or on how its
    steps are grouped into dispatches. The batch is split over the mesh's axis `data`. Means over the
    batch are global.

    `sharded` splits the state over the axis `data`, too, as `sharding.state_shardings` does. Each device
    then gathers the parameters when it needs them.

    With a `capacity`, `num_steps` may be traced: one program makes any number of steps up to it. The
    metrics are then [capacity], and zero from `num_steps` on.

    Raises:
      UsageError: `source` is not a `Source`.
    """
    if not isinstance(source, Source):
        raise UsageError(
            "source must be a training.Source, not the data themselves: pass "
            "training.in_memory(data, batch_size=...)."
        )
    batch_sharding = NamedSharding(mesh, PartitionSpec("data"))
    order_key = jax.random.fold_in(state.key, ORDER)

    def body(carry, index):
        state, position = carry
        examples, position = source.next(position, order_key, state.step)
        examples = jax.lax.with_sharding_constraint(examples, batch_sharding)
        preprocess_key, key = jax.random.split(jax.random.fold_in(state.key, state.step))
        # XLA's CPU compiler would draw the batch again for each of its uses. It does not look into a
        # conditional, whose condition always holds.
        shape = jax.eval_shape(preprocess, preprocess_key, examples.x)
        never = lambda key, x: jnp.zeros(shape.shape, shape.dtype)  # noqa: E731
        x = jax.lax.cond(index >= 0, preprocess, never, preprocess_key, examples.x)
        examples = examples._replace(x=x)
        state, metrics = train_step(state, examples, key, model=model, objective=objective, tx=tx)
        if sharded:
            shardings = state_shardings(state, mesh, members=False, sharded=True)
            state = jax.lax.with_sharding_constraint(state, shardings)
        return (state, position), metrics

    carry = (state, source.start(order_key, state.step))
    if capacity is None:
        length = cast(int, num_steps)
        (state, _), metrics = jax.lax.scan(body, carry, jnp.arange(length))
        return state, metrics
    body = jax.jit(body, inline=True)  # traced once, for the shapes and for the loop
    shapes = jax.eval_shape(body, carry, 0)[1]
    empty = jax.tree.map(lambda leaf: jnp.zeros((capacity, *leaf.shape), leaf.dtype), shapes)

    def counted(index, carry_and_metrics):
        carry, metrics = carry_and_metrics
        carry, row = body(carry, index)
        return carry, jax.tree.map(lambda rows, one: rows.at[index].set(one), metrics, row)

    (state, _), metrics = jax.lax.fori_loop(0, num_steps, counted, (carry, empty))
    return state, metrics


def compile_train_steps(*, capacity: int | None = None, **settings):
    """`train_steps` jitted, its state donated: (state, source, *, num_steps) -> (state, metrics).

    Without a `capacity`, each number of steps is a program of its own.
    """
    run = partial(train_steps, capacity=capacity, **settings)
    static = ("num_steps",) if capacity is None else ()
    return jax.jit(run, static_argnames=static, donate_argnums=0)
