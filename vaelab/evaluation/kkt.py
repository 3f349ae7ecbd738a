"""The distance of a trained Lagrangian from a Karush-Kuhn-Tucker point."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from vaelab.checks import UsageError, check_at_least_one
from vaelab.evaluation.batches import Progress, explained
from vaelab.evaluation.subject import Subject
from vaelab.one_off import one_off
from vaelab.types import Array, Examples, PRNGKey, Terms


class ConstraintResidual(NamedTuple):
    """The residuals of one inequality C ≤ 0, in the units of C / scale."""

    violation: float  # max(0, E[C] / scale): primal feasibility
    complementarity: float  # λ · max(0, −E[C] / scale): complementary slackness


class KKT(NamedTuple):
    """Residuals of the Karush-Kuhn-Tucker conditions. Dual feasibility, λ ≥ 0, holds by construction."""

    # ‖∇(rate + Σ λ_j C_j)‖ / (‖∇rate‖ + Σ λ_j ‖∇C_j‖), at most 1; None if the noise hides a gradient
    stationarity: float | None
    constraints: dict[str, ConstraintResidual]


def kkt_residuals(
    subject: Subject,
    key: PRNGKey,
    multipliers: Mapping[str, float],
    constraints: Mapping[str, Callable[[Examples, Terms], Array]],
    scales: Mapping[str, float],
    *,
    num_samples: int = 4,
    batch_size: int = 100,
    progress: Progress = iter,
) -> KKT:
    """Residuals at (params, multipliers) of the problem: minimise E[rate] subject to E[C_j] ≤ 0.

    Every squared norm is the mean inner product of gradients on up to eight disjoint parts of the data.
    So it is unbiased: sampling noise does not count as a gradient. The stationarity is a ratio of
    norms. It is None unless the squared norms of the rate's gradient, and of the gradients of the
    constraints with λ > 0, exceed two standard errors.
    Only as many examples count as fill equal parts with whole batches.

    Raises:
      UsageError: there are fewer than 2 · batch_size examples, num_samples or batch_size is below 1,
        or a constraint has no multiplier or no scale.
    """
    check_at_least_one(num_samples=num_samples, batch_size=batch_size)
    for name in constraints:
        for field, given in (("multipliers", multipliers), ("scales", scales)):
            if name not in given:
                raise UsageError(
                    f"{field} must hold a number for the constraint {name!r}, got {list(given)}."
                )
    examples = subject.examples
    num_parts = min(8, len(examples.x) // batch_size)
    if num_parts < 2:
        raise UsageError(
            f"data must hold at least 2 · batch_size = {2 * batch_size} examples, got "
            f"{len(examples.x)}."
        )
    num_batches = len(examples.x) // batch_size // num_parts * num_parts
    functions = tuple(constraints.items())
    gradients_of = partial(_gradients, subject.model, functions, num_samples, subject.params)
    parts: list[Any] = [None] * num_parts
    means: list[Array] = []
    with explained(batch_size) as count:
        for index in count(progress(range(num_batches))):
            batch = examples.take(slice(index * batch_size, (index + 1) * batch_size))
            part = index % num_parts
            values, gradients = gradients_of(batch, jax.random.fold_in(key, index))
            means.append(values)
            parts[part] = gradients if index < num_parts else parts[part] + gradients
    grams = np.asarray(_inner_products(parts), np.float64)
    weights = np.array([1.0, *(float(multipliers[name]) for name in constraints)])
    pairs = grams[np.triu_indices(num_parts, 1)]  # [P, 1 + J, 1 + J]
    products = np.mean(pairs + pairs.transpose(0, 2, 1), axis=0) / 2
    squares, active = np.diag(products), weights > 0
    noise = np.std(pairs, axis=0).diagonal() / np.sqrt(len(pairs))
    stationarity = None
    if (squares > 2 * noise)[active].all():
        norm = np.sqrt(max(weights @ products @ weights, 0.0))
        parts_norm = weights[active] @ np.sqrt(squares[active])
        stationarity = float(min(norm / parts_norm, 1.0))
    scaled_means = {
        name: float(mean) / scales[name]
        for name, mean in zip(constraints, np.mean(jax.device_get(means), axis=0), strict=True)
    }
    return KKT(
        stationarity=stationarity,
        constraints={
            name: ConstraintResidual(max(scaled, 0.0), float(multipliers[name]) * max(-scaled, 0.0))
            for name, scaled in scaled_means.items()
        },
    )


@partial(one_off, static_argnums=(0, 1, 2), level=1)
def _gradients(model, functions, num_samples, params, examples, key) -> tuple[Array, Array]:
    """Means of the constraints [J], and the flat gradients of rate and constraints, [1 + J, P]."""

    def means(params):
        terms = model.at(params)(examples.x, key, num_samples, context=examples.context)
        values = [terms.total_rate, *(function(examples, terms) for _, function in functions)]
        return jnp.stack([jnp.mean(value) for value in values])

    values, pullback = jax.vjp(means, params)
    # One after the other: the backward pass is compiled once, and without an axis of its own.
    gradients = jax.lax.map(
        lambda cotangent: ravel_pytree(pullback(cotangent))[0],
        jnp.eye(len(values), dtype=values.dtype),
    )
    return values[1:], gradients


@partial(one_off, static_argnums=(), level=1)
def _inner_products(parts: list[Array]) -> Array:
    """Inner products of the gradients of all pairs of parts, [G, G, 1 + J, 1 + J]."""
    stacked = jnp.stack(parts)
    # Near a KKT point the products cancel. bfloat16, the default of a TPU, would not resolve that.
    return jnp.einsum("ajp,bkp->abjk", stacked, stacked, precision=jax.lax.Precision.HIGHEST)
