"""Blocks of work that are timed: training steps, their limit, and sweeps."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from experiments.benchmark.models import EXPERIMENTS, images
from vaelab.runs import Experiment
from vaelab.runs.run import Run
from vaelab.training import population
from vaelab.training.sharding import make_mesh, place, replicate, replicated, state_shardings
from vaelab.training.step import compile_train_steps
from vaelab.types import PyTree, Saddle

Clock = Callable[[], float]  # seconds: `time.perf_counter`, or `time.process_time` of all threads
Timer = Callable[[Clock], float]  # measures once, seconds for a step


def timed(function: Callable[[], object], units: int) -> Timer:
    """Seconds for a unit of a function, which is called twice before: a state that it returns may lie otherwise than the first."""
    for _ in range(2):
        jax.block_until_ready(function())

    def seconds(clock: Clock) -> float:
        start = clock()
        jax.block_until_ready(function())
        return (clock() - start) / units

    return seconds


def made_run(name: str) -> Run:
    """A run of a model of the benchmark on made images."""
    return Run.load(EXPERIMENTS[name], splits=images(), name=name)


def steps(run: Run, num_steps: int) -> Timer:
    """A training step of the program that training runs."""
    run_steps, state, source = _start(run, num_steps)

    def block() -> PyTree:
        nonlocal state
        state, metrics = run_steps(state, source, num_steps=num_steps)
        return metrics

    return timed(block, num_steps)


def trained(run: Run, num_steps: int) -> Saddle:
    """The variables after this many steps."""
    run_steps, state, source = _start(run, num_steps)
    return run_steps(state, source, num_steps=num_steps)[0].variables


def _start(run: Run, num_steps: int):
    setup, mesh = run.setup(), make_mesh(devices=jax.devices()[:1])
    run_steps = compile_train_steps(
        model=setup.model, objective=setup.objective, tx=setup.tx,
        preprocess=run.experiment.data.preprocess, mesh=mesh, capacity=num_steps,
    )  # fmt: skip
    state = replicate(setup.initial_state(run.splits.train, jax.random.key(0)), mesh)
    return run_steps, state, replicate(run.source(), mesh)


def members(experiment: Experiment, num_members: int, num_steps: int) -> Timer:
    """A step of members in one program: all of them."""
    run = Run.load(experiment, splits=images(experiment.model.decoder.event_shape))
    num_devices = math.gcd(num_members, jax.device_count())
    mesh = make_mesh(sweep=num_devices, devices=jax.devices()[:num_devices])
    together = population.compile_member_steps(
        lambda values: run.setup(), preprocess=experiment.data.preprocess, mesh=mesh,
        capacity=num_steps,
    )  # fmt: skip
    source = replicate(run.source(), mesh)
    keys = jax.vmap(jax.random.key)(jnp.arange(num_members))
    states = population.initial_states(lambda values: run.setup(), {}, run.splits.train, keys)
    shardings = state_shardings(states, mesh, members=True, sharded=False)
    states = place(states, shardings._replace(step=replicated(mesh)))

    def block() -> PyTree:
        nonlocal states
        states, metrics = together(states, {}, source, num_steps=num_steps)
        return metrics

    return timed(block, num_steps)


def in_turn(experiment: Experiment, num_members: int, num_steps: int) -> Timer:
    """A step of each of the members, one member after another."""
    run = Run.load(experiment, splits=images(experiment.model.decoder.event_shape))
    run_steps, state, source = _start(run, num_steps)

    def block() -> PyTree:
        nonlocal state
        for _ in range(num_members):
            state, metrics = run_steps(state, source, num_steps=num_steps)
        return metrics

    return timed(block, num_steps)
