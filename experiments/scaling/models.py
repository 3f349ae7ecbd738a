"""The work of one training step of an experiment, and the size of its state."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from experiments.scaling.work import Work, work_of
from vaelab.checks import UsageError
from vaelab.runs import Experiment
from vaelab.runs.run import Run
from vaelab.training.state import TrainState
from vaelab.training.step import train_step
from vaelab.types import Examples

_LARGER = 4  # the second batch is this many times as large


class StepCost(NamedTuple):
    """The work of a training step, and the bytes of its state."""

    name: str
    batch_size: int
    parameters: int
    """Number of parameters."""
    state: float
    """Bytes of the train state on the devices: parameters, moments of Adam, and what else a run keeps there."""
    fixed: Work
    """Work of a step that does not depend on the batch, Adam's traffic included."""
    example: Work
    """Work of each example."""

    def work(self, examples: float) -> Work:
        """Work of a step with this many examples on a chip."""
        return self.fixed.plus(self.example, examples)

    @property
    def gradient(self) -> float:
        """Bytes of a gradient."""
        return 4.0 * self.parameters


def step_cost(run: Run) -> StepCost:
    """Counts the work of a step at two batch sizes; the work is linear in the batch."""
    experiment = run.experiment
    state = jax.eval_shape(lambda: run.setup().initial_state(run.sample, jax.random.key(0)))
    state = state._replace(best=())  # which stays on the host
    parameters = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(state.variables.params))
    batch = experiment.batch_size
    small, large = (_products(run, experiment, state, size) for size in (batch, _LARGER * batch))
    example = Work(*((b - a) / ((_LARGER - 1) * batch) for a, b in zip(small, large, strict=True)))
    example = example._replace(products=0.0)
    # Adam reads parameters, two moments and the gradient, and writes the first three.
    fixed = small.plus(example, -batch).plus(Work(moved=7 * 4 * parameters))
    return StepCost(run.name, batch, parameters, _bytes(state), fixed, example)


def _products(run: Run, experiment: Experiment, state: TrainState, batch_size: int) -> Work:
    setup, train = run.setup(), run.splits.train

    def leaf(array):
        return jax.ShapeDtypeStruct((batch_size, *array.shape[1:]), jnp.asarray(array[:1]).dtype)

    batch: Examples = jax.tree.map(leaf, train)
    try:
        return work_of(
            lambda state, batch, key: train_step(
                state, batch, key, model=setup.model, objective=setup.objective, tx=setup.tx
            ),
            state, batch, jax.random.key(0),
        )  # fmt: skip
    except ValueError as error:
        raise UsageError(f"the work of {run.name} cannot be counted: {error}") from error


def _bytes(tree) -> float:
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
