"""Blocks of work that are timed: training steps, their limit, and sweeps."""

from __future__ import annotations

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp

from experiments.benchmark.limit import Work
from experiments.benchmark.models import SMALL, images
from vaelab.runs import Experiment
from vaelab.runs.run import Run
from vaelab.training import population
from vaelab.training.sharding import make_mesh, replicate
from vaelab.training.step import compile_train_steps
from vaelab.types import PyTree

Timer = Callable[[], float]  # measures once, seconds for a step


def timed(function: Callable[[], object], units: int) -> Timer:
    """Seconds for a unit of a function, which is called twice before: its result may be placed in another way than its start."""
    for _ in range(2):
        jax.block_until_ready(function())

    def seconds() -> float:
        start = time.perf_counter()
        jax.block_until_ready(function())
        return (time.perf_counter() - start) / units

    return seconds


def steps(experiment: Experiment, num_steps: int) -> Timer:
    """A training step of the program that training runs."""
    splits = images()
    run = Run.load(experiment, splits=splits)
    setup, mesh = run.setup(), make_mesh(devices=jax.devices()[:1])
    run_steps = compile_train_steps(
        model=setup.model, objective=setup.objective, tx=setup.tx,
        preprocess=experiment.data.preprocess, mesh=mesh, capacity=num_steps,
    )  # fmt: skip
    state = replicate(setup.initial_state(splits.train, jax.random.key(0)), mesh)
    source = replicate(run.source(), mesh)

    def block() -> PyTree:
        nonlocal state
        state, metrics = run_steps(state, source, num_steps=num_steps)
        return metrics

    return timed(block, num_steps)


def work(experiment: Experiment) -> Work:
    """The products and the bytes of one step."""
    splits = images()
    run = Run.load(experiment, splits=splits)
    setup = run.setup()
    state = setup.initial_state(splits.train, jax.random.key(0))
    examples = splits.train.take(slice(experiment.batch_size))
    x = jnp.asarray(examples.x)

    def gradients(variables: PyTree) -> PyTree:
        def loss(variables):
            bound = setup.model.at(variables.params)
            batch = examples._replace(x=x)
            return setup.objective(
                bound, variables.multipliers, batch, jax.random.key(1), state.step
            )[0]

        return jax.grad(loss)(variables)

    return Work.of(gradients, state.variables, num_params=_size(state.variables.params))


def sweep(num_members: int, num_steps: int) -> tuple[Timer, Timer]:
    """A step of small members in one program, and the same steps one after another."""
    splits = images((8, 8, 1))
    run = Run.load(SMALL, splits=splits)
    mesh = make_mesh(devices=jax.devices()[:1])
    settings = dict(preprocess=SMALL.data.preprocess, mesh=mesh, capacity=num_steps)
    together = population.compile_member_steps(lambda values: run.setup(), **settings)
    setup, source = run.setup(), replicate(run.source(), mesh)
    alone = compile_train_steps(
        model=setup.model, objective=setup.objective, tx=setup.tx, **settings
    )
    keys = jax.vmap(jax.random.key)(jnp.arange(num_members))
    states = population.initial_states(lambda values: run.setup(), {}, splits.train, keys)
    one = setup.initial_state(splits.train, jax.random.key(0))

    def block() -> PyTree:
        nonlocal states
        states, metrics = together(states, {}, source, num_steps=num_steps)
        return metrics

    def in_turn() -> PyTree:
        nonlocal one
        for _ in range(num_members):
            one, metrics = alone(one, source, num_steps=num_steps)
        return metrics

    return timed(block, num_steps), timed(in_turn, num_steps)


def _size(tree: PyTree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))
