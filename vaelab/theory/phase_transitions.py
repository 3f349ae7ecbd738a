"""Phase transitions of a β-VAE: temperatures at which its reconstructions merge."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from vaelab.theory.fixed_points import Rule, iterate, reconstruction_error
from vaelab.types import Array


@partial(jax.jit, static_argnames="rule")
def error_curve(
    x: Array,
    g: Array,
    betas: Array,
    *,
    rule: Rule = Rule(),  # noqa: B008 (frozen)
) -> tuple[Array, Array]:
    """The order parameter: reconstruction errors at the fixed points from the start g, one for each β.

    One program iterates one β after the other, so that each β has its own number of steps.

    Returns:
      ([R], squared units of x; [R] int32, steps).

    >>> errors, _ = error_curve(jnp.array([[-1.0], [1.0]]), jnp.zeros((1, 1)), jnp.array([1.0, 2.0]))
    >>> errors.tolist()
    [1.0, 1.0]
    """
    chex.assert_rank(betas, 1)

    def point(beta: Array) -> tuple[Array, Array]:
        end = iterate(x, g, beta, rule=rule)
        return reconstruction_error(x, end.g, beta), end.num_steps

    return jax.lax.map(point, betas)


@jax.jit
def second_derivative(x: Array, y: Array) -> Array:
    """Twice the second divided differences of y at ascending x of any spacing. [R], [R] -> [R − 2].

    `2 ((y₊ − y₀)/(x₊ − x₀) − (y₀ − y₋)/(x₀ − x₋)) / (x₊ − x₋)`, which is exact for quadratics.

    >>> second_derivative(jnp.array([0.0, 1.0, 3.0]), jnp.array([0.0, 1.0, 9.0])).tolist()
    [2.0]
    """
    slope = jnp.diff(y) / jnp.diff(x)
    return 2 * jnp.diff(slope) / (x[2:] - x[:-2])


class CriticalTemperatures(NamedTuple):
    """Local maxima of the curvature, the highest first; NaN where there are fewer than `num`."""

    beta: Array  # [num]
    curvature: Array  # [num], |d²E/dβ²|


@partial(jax.jit, static_argnames="num")
def critical_temperatures(betas: Array, errors: Array, *, num: int = 3) -> CriticalTemperatures:
    """The β at which |d²E/dβ²| has its highest `num` local maxima. [R], [R] -> [num] each.

    Rezende & Viola, 2018, section 3.2. The ends of the curve do not count as maxima.

    >>> betas = jnp.linspace(0.0, 3.0, 31)
    >>> errors = jnp.minimum(betas, 1.0) + 3 * jnp.minimum(betas, 2.0)  # bends at 1 and, more, at 2
    >>> jax.device_get(critical_temperatures(betas, errors, num=2).beta).round(3).tolist()
    [2.0, 1.0]
    """
    chex.assert_equal_shape([betas, errors])
    curvature = jnp.abs(second_derivative(betas, errors))
    inner, before, after = curvature[1:-1], curvature[:-2], curvature[2:]
    peaks = jnp.where((inner > before) & (inner >= after), inner, -jnp.inf)
    height, place = jax.lax.top_k(peaks, num)
    found = jnp.isfinite(height)
    return CriticalTemperatures(
        jnp.where(found, betas[place + 2], jnp.nan), jnp.where(found, height, jnp.nan)
    )


@jax.jit
def last_merger(x: Array) -> Array:
    """The β above which it is stable that all cells reconstruct the mean: 2 × the largest variance.

    Near g = mean a step multiplies the differences between cells by `(2/β) C`, C the covariance. So the
    mean attracts above this β and repels below. Rose, 1998, section II. Skewed data may have other fixed
    points above it: a point far from all others keeps its own cells.

    >>> jax.device_get(last_merger(jnp.array([[-1.0, 0.0], [1.0, 0.0]]))).round(3)
    np.float32(2.0)
    """
    centred = x - jnp.mean(x, axis=0)
    return 2 * jnp.linalg.norm(centred, ord=2) ** 2 / len(x)
