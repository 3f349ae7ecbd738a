"""Whole runs side by side in one compiled program: an experiment over κ, learning rates and seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from vaelab.models import Model
from vaelab.training.objectives import Objective
from vaelab.training.sharding import replicated
from vaelab.training.sources import Source
from vaelab.training.state import MEMBERS, TrainState, initial_state
from vaelab.training.step import train_steps
from vaelab.types import Array, Examples, Preprocess, PRNGKey, PyTree

Values = Mapping[
    str, Array
]  # what distinguishes the members, each [M]; empty if only their keys do


class Setup(NamedTuple):
    """The parts of one member's experiment, built from its values."""

    model: Model
    objective: Objective
    tx: optax.GradientTransformation
    initial_multiplier: float | Array | Mapping[str, float | Array] = 1.0
    ema_decay: float | None = None

    def initial_state(
        self, data: Examples | Array, key: PRNGKey, params: PyTree | None = None
    ) -> TrainState:
        """The state before the first step, `state.initial_state`."""
        return initial_state(
            self.model, self.objective, self.tx, data, key,
            initial_multiplier=self.initial_multiplier, ema_decay=self.ema_decay, params=params,
        )  # fmt: skip


# Called with one member's values, which are tracers then: an experiment is a value.
Build = Callable[[Mapping[str, Array]], Setup]


def initial_states(
    build: Build,
    values: Values,
    data: Examples | Array,
    keys: PRNGKey,
    *,
    params: PyTree | None = None,
) -> TrainState:
    """`initial_state` for each of keys [M], as one state of which every leaf but `step` is [M, ...].

    All members start from `params` if these are given.
    """

    @jax.jit  # one program, where initial_state alone runs many small ones
    @partial(jax.vmap, in_axes=(0, None, 0, None), out_axes=MEMBERS)
    def start(values: Values, data: Examples | Array, key: PRNGKey, params: PyTree) -> TrainState:
        return build(values).initial_state(data, key, params)

    return start(dict(values), data, keys, params)


def compile_member_steps(
    build: Build,
    *,
    preprocess: Preprocess,
    mesh: Mesh,
    sharded: bool = False,
    capacity: int | None = None,
):
    """As `compile_train_steps`: (state, values, source, *, num_steps) -> (state, metrics [M, T]).

    The members are split over the mesh's axis `sweep`.
    """

    def run(state: TrainState, values: Values, source: Source, num_steps: int | Array):
        def steps(state: TrainState, values: Values, source: Source):
            setup = build(values)
            return train_steps(
                state, source, num_steps=num_steps, model=setup.model, objective=setup.objective,
                tx=setup.tx, preprocess=preprocess, mesh=mesh, sharded=sharded, capacity=capacity,
            )  # fmt: skip

        together = jax.vmap(
            steps,
            in_axes=(MEMBERS, 0, source.member_axes),
            out_axes=(MEMBERS, 0),
            spmd_axis_name="sweep",
        )
        state, metrics = together(state, values, source)
        return state, jax.lax.with_sharding_constraint(metrics, replicated(mesh))  # to be fetched

    static = ("num_steps",) if capacity is None else ()
    return jax.jit(run, static_argnames=static, donate_argnums=0)


def split(mesh: Mesh) -> NamedSharding:
    """The first axis, of members, split over the mesh's axis `sweep`."""
    return NamedSharding(mesh, PartitionSpec("sweep"))


@dataclasses.dataclass(frozen=True)
class BoundSteps:
    """The steps of `compile_member_steps` at these values: (state, source, *, num_steps)."""

    run_steps: Any
    values: Values

    def __call__(self, state: TrainState, source: Source, *, num_steps: int):
        return self.run_steps(state, self.values, source, num_steps=num_steps)

    def lower(self, state: TrainState, source: Source, *, num_steps: int):
        return self.run_steps.lower(state, self.values, source, num_steps=num_steps)


def member(tree, index: int):
    """The leaves of one member of a tree of [M, ...] leaves."""
    return jax.tree.map(lambda leaf: leaf[index], tree)
