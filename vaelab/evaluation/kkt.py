"""How far a trained Lagrangian is from a Karush-Kuhn-Tucker point."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.evaluation.batches import Progress
from vaelab.types import Array, Examples, Model, PRNGKey, PyTree, Terms, as_examples


class ConstraintResidual(NamedTuple):
    """What one inequality C ≤ 0 leaves open, in the units of C / scale."""

    violation: float  # max(0, E[C] / scale): primal feasibility
    complementarity: float  # λ · max(0, −E[C] / scale): complementary slackness


class KKT(NamedTuple):
    """Residuals of the Karush-Kuhn-Tucker conditions; λ ≥ 0, the dual one, holds by construction."""

    # ‖∇(rate + Σ λ_j C_j)‖ / (‖∇rate‖ + Σ λ_j ‖∇C_j‖), at most 1; None where gradients drown in noise
    stationarity: float | None
    constraints: dict[str, ConstraintResidual]


def kkt_residuals(
    model: Model,
    params: PyTree,
    multipliers: Mapping[str, float],
    data: Examples | np.ndarray | Array,
    key: PRNGKey,
    constraints: Mapping[str, Callable[[Examples, Terms], Array]],
    scales: Mapping[str, float],
    *,
    num_samples: int = 4,
    batch_size: int = 100,
    progress: Progress = iter,
) -> KKT:
    """Residuals at (params, multipliers) of: minimise E[rate] where E[C_j] ≤ 0. On the data given.

    Every squared norm is the inner product of two gradients on disjoint halves of the data, so that
    the noise of sampling does not count as a gradient: unbiased. Their ratio is worth something only
    where the gradients of rate and constraints stand out of the noise.
    The data are images [N, ...] or examples; what is left of N modulo 2 · batch_size is left out.

    Raises:
      ValueError: there are fewer than 2 · batch_size examples.
    """
    examples = as_examples(data)
    num_pairs = len(examples.x) // (2 * batch_size)
    if num_pairs < 1:
        raise ValueError(
            f"data must hold at least 2 · batch_size = {2 * batch_size} examples, got "
            f"{len(examples.x)}."
        )
    functions = tuple(constraints.items())
    sums: list[Any] = [None, None]
    for index in progress(range(2 * num_pairs)):
        rows = slice(index * batch_size, (index + 1) * batch_size)
        batch = jax.tree.map(jnp.asarray, examples.take(rows))
        batch_key = jax.random.fold_in(key, index)
        parts = _gradients(model, functions, num_samples, params, batch, batch_key)
        half = index % 2
        sums[half] = parts if index < 2 else jax.tree.map(jnp.add, sums[half], parts)
    products = np.asarray(_inner_products(*(part[1] for part in sums)), np.float64)
    weights = np.array([1.0, *(float(multipliers[name]) for name in constraints)])
    squares = np.diag(products)
    stationarity = None
    if (squares > 0).all():
        norm = np.sqrt(max(weights @ products @ weights, 0.0))
        stationarity = float(min(norm / (weights @ np.sqrt(squares)), 1.0))
    means = (np.asarray(sums[0][0]) + np.asarray(sums[1][0])) / (2 * num_pairs)
    scaled_means = {
        name: float(mean) / scales[name] for name, mean in zip(constraints, means, strict=True)
    }
    return KKT(
        stationarity=stationarity,
        constraints={
            name: ConstraintResidual(max(scaled, 0.0), float(multipliers[name]) * max(-scaled, 0.0))
            for name, scaled in scaled_means.items()
        },
    )


@partial(jax.jit, static_argnums=(0, 1, 2))
def _gradients(model, functions, num_samples, params, examples, key) -> tuple[Array, PyTree]:
    """Means of the constraints [J], and the gradients of rate and constraints, stacked: [1 + J, ...]."""

    def means(params):
        terms = model.apply(
            {"params": params}, examples.x, key, num_samples, context=examples.context
        )
        values = [terms.total_rate, *(function(examples, terms) for _, function in functions)]
        return jnp.stack([jnp.mean(value) for value in values])

    return means(params)[1:], jax.jacrev(means)(params)


@jax.jit
def _inner_products(first: PyTree, second: PyTree) -> Array:
    """Symmetrised inner products of the rows of two stacks of gradients, [1 + J, 1 + J]."""

    def product(a: Array, b: Array) -> Array:
        return a.reshape(len(a), -1) @ b.reshape(len(b), -1).T

    products = jax.tree.leaves(jax.tree.map(product, first, second))
    total = jnp.sum(jnp.stack(products), axis=0)
    return (total + total.T) / 2
