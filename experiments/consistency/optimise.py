"""Deterministic optimisation of exact objectives, and the encoders that are compared."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize

from vaelab.theory import Affine
from vaelab.types import Array, PyTree

HIDDEN = 8  # units of each hidden layer
ENCODERS: dict[str, tuple[int, ...]] = {
    "linear": (),
    "1 hidden": (HIDDEN,),
    "2 hidden": (HIDDEN, HIDDEN),
}


class Optimum(NamedTuple):
    """The end of an ascent, and all steps to it."""

    parameters: PyTree
    value: float
    path: list[PyTree]  # parameters before the first and after each step


def ascend(
    objective: Callable[..., Array], starts: Sequence[PyTree], *data: PyTree, max_steps: int
) -> list[Optimum]:
    """L-BFGS in float64 on objective(parameters, *data) from each start. Every step raises the objective.

    An objective that is a function of a module is compiled once for all data of equal shapes.
    """
    leaves, structure = jax.tree.flatten(starts[0])
    shapes = [np.shape(leaf) for leaf in leaves]
    ends = np.cumsum([np.size(leaf) for leaf in leaves])

    def restore(values: np.ndarray) -> PyTree:
        parts = np.split(values, ends[:-1])
        arrays = [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
        return jax.tree.unflatten(structure, arrays)

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = _value_and_grad(objective, restore(values), data)
        return -float(value), -_flat(gradient)

    found = []
    for start in starts:
        path = [_flat(start)]
        end = optimize.minimize(
            loss, path[0], jac=True, method="L-BFGS-B", callback=lambda x, path=path: path.append(np.array(x)),
            options={"maxiter": max_steps, "maxcor": 30, "ftol": 1e-13, "gtol": 1e-8},
        )  # fmt: skip
        steps = [jax.tree.map(jnp.asarray, restore(each)) for each in path]
        found.append(Optimum(steps[-1], -float(end.fun), steps))
    return found


@partial(jax.jit, static_argnums=0)
def _value_and_grad(objective: Callable[..., Array], parameters: PyTree, data: PyTree):
    return jax.value_and_grad(objective)(parameters, *data)


def _flat(tree: PyTree) -> np.ndarray:
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def maximise(
    objective: Callable[..., Array], starts: Sequence[PyTree], *data: PyTree, max_steps: int
) -> Optimum:
    """The best end of `ascend`."""
    return max(ascend(objective, starts, *data, max_steps=max_steps), key=lambda end: end.value)


def network(generator: np.random.Generator, sizes: Sequence[int]) -> tuple[Affine, ...]:
    """Random layers of the given sizes, from the input to the output."""
    return tuple(
        Affine(
            jnp.asarray(generator.normal(size=(num_in, num_out)) / np.sqrt(num_in)),
            jnp.zeros(num_out),
        )
        for num_in, num_out in itertools.pairwise(sizes)
    )
