"""Whole runs side by side in one compiled program, each with a key of its own."""

from __future__ import annotations

from functools import partial

import jax

from vaelab.training.objectives import Objective
from vaelab.training.state import TrainState, initial_state
from vaelab.training.step import train_steps
from vaelab.types import Array, Model, PRNGKey

# Leaves of the members' state have the member first; only the step is common to all. It must be, or
# every choice that depends on it, such as whether to shuffle, would be made both ways.
MEMBERS = TrainState(step=None, key=0, variables=0, opt_state=0, best=0)  # type: ignore[arg-type]


def initial_states(
    model: Model, objective: Objective, tx, x: Array, keys: PRNGKey, **settings
) -> TrainState:
    """`initial_state` for each of keys [M], as one state of which every leaf but `step` is [M, ...]."""

    @jax.jit  # one program, where initial_state alone runs many small ones
    @partial(jax.vmap, in_axes=(None, 0), out_axes=MEMBERS)
    def start(x: Array, key: PRNGKey) -> TrainState:
        return initial_state(model, objective, tx, x, key, **settings)

    return start(x, keys)


def compile_sweep_steps(**settings):
    """As `compile_train_steps`, for the state of `initial_states`; metrics are [M, num_steps].

    The members are split over the mesh's axis `sweep`.
    """

    @partial(jax.jit, static_argnames="num_steps", donate_argnums=0)
    def run(state: TrainState, data: Array, *, num_steps: int):
        def steps(state: TrainState):
            return train_steps(state, data, num_steps=num_steps, **settings)

        members = jax.vmap(steps, in_axes=(MEMBERS,), out_axes=(MEMBERS, 0), spmd_axis_name="sweep")
        return members(state)

    return run


def member(tree, index: int):
    """The leaves of one member of a tree of [M, ...] leaves."""
    return jax.tree.map(lambda leaf: leaf[index], tree)
