"""The work of one training step of an experiment, and the size of its state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from experiments.scaling.work import ADAM_BYTES, Product, Work, products_of, total
from vaelab.checks import UsageError
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
    state = _state(run)
    on_devices = _bytes(state) - _bytes(state.best)
    parameters = num_parameters(run)
    batch = run.experiment.batch_size
    small, large = (total(step_products(run, size)) for size in (batch, _LARGER * batch))
    example = Work(*((b - a) / ((_LARGER - 1) * batch) for a, b in zip(small, large, strict=True)))
    example = example._replace(products=0.0)
    fixed = small.plus(example, -batch).plus(Work(moved=ADAM_BYTES * parameters))
    return StepCost(run.name, batch, parameters, on_devices, fixed, example)


def step_products(run: Run, batch_size: int) -> Mapping[Product, float]:
    """The products of a training step, forward and backward.

    Raises:
      UsageError: a loop of unknown length holds a product.
    """
    setup, train = run.setup(), run.splits.train

    def leaf(array):
        return jax.ShapeDtypeStruct((batch_size, *array.shape[1:]), jnp.asarray(array[:1]).dtype)

    batch: Examples = jax.tree.map(leaf, train)
    try:
        return products_of(
            lambda state, batch, key: train_step(
                state, batch, key, model=setup.model, objective=setup.objective, tx=setup.tx
            ),
            _state(run), batch, jax.random.key(0),
        )  # fmt: skip
    except ValueError as error:
        raise UsageError(f"the work of {run.name} cannot be counted: {error}") from error


def num_parameters(run: Run) -> int:
    """Number of parameters of the model."""
    return sum(leaf.size for leaf in jax.tree.leaves(_state(run).variables.params))


def _state(run: Run) -> TrainState:
    return jax.eval_shape(lambda: run.setup().initial_state(run.sample, jax.random.key(0)))


def _bytes(tree) -> float:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
