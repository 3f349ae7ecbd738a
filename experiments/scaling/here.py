"""What this machine reaches: products, memory, and training steps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.scaling.machines import Chip
from experiments.scaling.models import StepCost
from experiments.study import of_length
from vaelab.runs import Experiment
from vaelab.runs.programs import Program
from vaelab.runs.run import Run
from vaelab.training.sharding import replicate

_SIZE = 2048  # of the matrices
_VALUES = 2**25  # of the moved arrays: larger than caches


class Measured(NamedTuple):
    """A step on this machine."""

    name: str
    seconds: float
    """Seconds of a step: median over the rounds."""
    least: float
    """Seconds that its products and its traffic need at least."""


def this_chip(rounds: int = 5) -> Chip:
    """The first device: the highest rates of a float32 product and of b + 2 c over the rounds."""
    device = jax.devices()[0]
    square = jnp.ones((_SIZE, _SIZE), jnp.float32)
    vector = jnp.ones(_VALUES, jnp.float32)
    product = jax.jit(jnp.matmul)
    triad = jax.jit(lambda b, c: b + 2 * c)
    flops = 2 * _SIZE**3 / min(_times(lambda: product(square, square), rounds))
    bandwidth = 3 * vector.nbytes / min(_times(lambda: triad(vector, vector), rounds))
    statistics = device.memory_stats() or {}
    memory = statistics.get("bytes_limit", float("nan"))
    return Chip(device.device_kind, flops, memory, bandwidth)


def step_seconds(run: Run, *, steps: int, rounds: int = 5) -> float:
    """Seconds of a training step of the program that training runs: the median over the rounds."""
    experiment = _of_length(run.experiment, steps)
    program = Program(Run(experiment, run.splits, run.name, run.splits_given))
    mesh = program.mesh()
    run_steps, source = program.compile_steps(mesh), replicate(program.run.source(), mesh)
    state = program.place(program.initial_state(), mesh)

    def dispatch():
        nonlocal state
        state, metrics = run_steps(state, source, num_steps=steps)
        return metrics

    return float(np.median(_times(dispatch, rounds))) / steps


def measured(cost: StepCost, run: Run, chip: Chip, *, steps: int, rounds: int) -> Measured:
    """A step beside the least time that it needs on this chip."""
    least = chip.seconds(cost.work(cost.batch_size))
    return Measured(cost.name, step_seconds(run, steps=steps, rounds=rounds), least)


def _of_length(experiment: Experiment, steps: int) -> Experiment:
    return of_length(experiment, steps).with_fields(log_every=steps, evaluate_every=steps)


def _times(function: Callable[[], object], rounds: int) -> list[float]:
    jax.block_until_ready(function())
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        jax.block_until_ready(function())
        seconds.append(time.perf_counter() - start)
    return seconds
