"""A likelihood variance optimised together with encoder and decoder: it converges to zero."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vaelab.theory.fixed_points import fixed_point_objective, reconstruction_error, transition
from vaelab.types import Array


class JointRun(NamedTuple):
    """Steps on encoder, decoder and variance. Row 0 is the start."""

    g: Array  # [A, D], the last reconstructions
    variance: Array  # [num_steps + 1], σ²
    elbo: (
        Array  # [num_steps + 1], nats per datum, at the best encoder, with the Gaussian's constant
    )


@partial(jax.jit, static_argnames="num_steps")
def optimise_variance(
    x: Array,
    g: Array,
    variance: float | Array,
    *,
    num_steps: int = 400,
    smoothing: float | Array = 0.1,
    smallest: float | Array = 1e-12,
) -> JointRun:
    """Alternates steps on g with `σ² = E‖x − g(z)‖²/D`, the best value for the new reconstructions.

    With at least as many cells as data the ELBO has no maximum: if every datum has its own tile, it
    grows as D/2 log 1/σ². `smallest` is the lower limit of σ². The ELBO does not decrease before σ²
    reaches it. If there are too few cells, one cell for two data can keep σ² away from zero.
    Proposition 3.1 (ii).

    Args:
      x, g: data [n, D], and the first reconstructions [A, D].
      variance: the first σ².
      num_steps: number of steps.
      smoothing: the share s of each step, as in `fixed_points.Rule`.
      smallest: the lower limit of σ².

    >>> run = optimise_variance(jnp.array([[0.0], [1.0]]), jnp.array([[0.4], [0.6]]), 0.25)
    >>> run.variance.shape, bool(run.variance[-1] < 1e-10)
    ((401,), True)
    """
    num_dims = x.shape[1]

    def elbo(g: Array, variance: Array) -> Array:
        return fixed_point_objective(x, g, 2 * variance) - num_dims / 2 * jnp.log(
            2 * jnp.pi * variance
        )

    def step(carry: tuple[Array, Array], _) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        g, variance = carry
        g = g + smoothing * (transition(x, g, 2 * variance) - g)
        variance = jnp.maximum(reconstruction_error(x, g, 2 * variance) / num_dims, smallest)
        return (g, variance), (variance, elbo(g, variance))

    variance = jnp.asarray(variance, g.dtype)
    first = variance, elbo(g, variance)
    (g, _), rest = jax.lax.scan(step, (g, variance), None, length=num_steps)
    variances, bounds = (
        jnp.append(start, values) for start, values in zip(first, rest, strict=True)
    )
    return JointRun(g, variances, bounds)
