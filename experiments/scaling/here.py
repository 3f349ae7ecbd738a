"""What this machine reaches: products, memory, and training steps."""

from __future__ import annotations

import statistics
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp

from experiments.benchmark.blocks import Timer, steps, timed
from experiments.benchmark.limit import triad
from experiments.scaling.machines import Chip
from experiments.scaling.models import StepCost
from vaelab.runs.run import Run

_SIZE = 2048  # of the matrices


class Measured(NamedTuple):
    """A step on this machine."""

    name: str
    seconds: float
    """Seconds of a step: median over the rounds."""
    least: float
    """Seconds that its products and its traffic need at least."""


def this_chip(rounds: int = 5) -> Chip:
    """The first device: the highest rates of a float32 product and of the memory over the rounds."""
    device = jax.devices()[0]
    square = jnp.ones((_SIZE, _SIZE), jnp.float32)
    product = jax.jit(jnp.matmul)
    flops = timed(lambda: product(square, square), 2 * _SIZE**3)
    per_byte = timed(*triad())
    memory = (device.memory_stats() or {}).get("bytes_limit", float("nan"))
    return Chip(
        device.device_kind,
        1 / min(_rounds(flops, rounds)),
        memory,
        1 / min(_rounds(per_byte, rounds)),
    )


def measured(cost: StepCost, run: Run, chip: Chip, *, num_steps: int, rounds: int) -> Measured:
    """A step beside the least time that it needs on this chip."""
    least = chip.seconds(cost.work(cost.batch_size))
    return Measured(cost.name, statistics.median(_rounds(steps(run, num_steps), rounds)), least)


def _rounds(timer: Timer, rounds: int) -> list[float]:
    return [timer(time.perf_counter) for _ in range(rounds)]
