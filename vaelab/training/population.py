"""Whole runs side by side in one compiled program: an experiment over κ, learning rates and seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from vaelab.models import Model
from vaelab.training.loop import Timetable
from vaelab.training.objectives import Objective
from vaelab.training.sharding import replicate
from vaelab.training.sources import Source
from vaelab.training.state import TrainState, initial_state
from vaelab.training.step import train_steps
from vaelab.types import Array, Examples, Preprocess, PRNGKey

# Leaves of the members' state have the member first; only the step is common to all. It must be, or
# every choice that depends on it, such as whether to shuffle, would be made both ways.
MEMBERS = TrainState(step=None, key=0, variables=0, opt_state=0, best=0, ema=0)  # type: ignore[arg-type]

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


# Called with one member's values, which are tracers then: an experiment is a value.
Build = Callable[[Mapping[str, Array]], Setup]


def initial_states(
    build: Build, values: Values, data: Examples | Array, keys: PRNGKey
) -> TrainState:
    """`initial_state` for each of keys [M], as one state of which every leaf but `step` is [M, ...]."""

    @jax.jit  # one program, where initial_state alone runs many small ones
    @partial(jax.vmap, in_axes=(0, None, 0), out_axes=MEMBERS)
    def start(values: Values, data: Examples | Array, key: PRNGKey) -> TrainState:
        setup = build(values)
        return initial_state(
            setup.model, setup.objective, setup.tx, data, key,
            initial_multiplier=setup.initial_multiplier, ema_decay=setup.ema_decay,
        )  # fmt: skip

    return start(dict(values), data, keys)


def compile_sweep_steps(build: Build, *, preprocess: Preprocess, mesh: Mesh):
    """As `compile_train_steps`: (state, values, source, *, num_steps) -> (state, metrics [M, num_steps]).

    The members are split over the mesh's axis `sweep`.
    """

    @partial(jax.jit, static_argnames="num_steps", donate_argnums=0)
    def run(state: TrainState, values: Values, source: Source, *, num_steps: int):
        def steps(state: TrainState, values: Values):
            model, objective, tx, *_ = build(values)
            return train_steps(
                state, source, num_steps=num_steps, model=model,
                objective=objective, tx=tx, preprocess=preprocess, mesh=mesh,
            )  # fmt: skip

        axes = (MEMBERS, 0)
        return jax.vmap(steps, in_axes=axes, out_axes=axes, spmd_axis_name="sweep")(state, values)

    return run


def split(mesh: Mesh) -> NamedSharding:
    """The first axis, of members, split over the mesh's axis `sweep`."""
    return NamedSharding(mesh, PartitionSpec("sweep"))


def place(state: TrainState, values: Values, mesh: Mesh) -> tuple[TrainState, Values]:
    """The members split over the mesh's axis `sweep`, whose size must divide their number."""
    members = jax.device_put((state._replace(step=None), dict(values)), split(mesh))  # type: ignore[arg-type]
    return members[0]._replace(step=replicate(state.step, mesh)), members[1]


def fit_members(
    state: TrainState,
    values: Values,
    source: Source,
    *,
    run_steps: Callable,
    timetable: Timetable,
    log: Callable[[int, dict[str, np.ndarray]], None],
    save: Callable[[TrainState], None],
) -> TrainState:
    """Trains all members from the state's step to the last of the timetable; none stops early.

    A member whose loss becomes NaN leaves the others alone. `log` receives (step, {metric: [M]}),
    means since the last call; `save` the state at every evaluation of the timetable.
    """
    step, pending = int(state.step), None

    def report(first_step: int, metrics: dict[str, Array]) -> None:
        rows = {name: np.asarray(value) for name, value in jax.device_get(metrics).items()}
        length = rows["loss"].shape[1]
        log(first_step + length, {name: value.mean(axis=1) for name, value in rows.items()})

    while step < timetable.num_steps:
        start, step = step, timetable.next_stop(step)
        state, metrics = run_steps(state, values, source, num_steps=step - start)
        if pending is not None:  # one dispatch late, so that the device never waits for the host
            report(*pending)
        pending = (start, metrics)
        if timetable.evaluates_at(step):
            report(*pending)
            pending = None
            save(state)
    return state


def member(tree, index: int):
    """The leaves of one member of a tree of [M, ...] leaves."""
    return jax.tree.map(lambda leaf: leaf[index], tree)


def values_of(members: list[dict[str, float]]) -> dict[str, Array]:
    """Members as dictionaries of numbers -> {name: [M]}.

    >>> values_of([{"kappa": 0.1}, {"kappa": 0.2}])["kappa"].shape
    (2,)
    """
    return {name: jnp.asarray([m[name] for m in members]) for name in members[0]}
