"""The parts of the rate (ELBO surgery), and the bias of a marginal KL over few inputs.

Estimates are averages over samples z for N given inputs, computed on batches of points and chunks of
components. With fewer than 2N samples the standard errors are too large, see
`averages.stratified_mean_and_error`. If the prior is not exact, log p(z) is underestimated, less with
more inner samples. Then the rate, the cross-entropy, the marginal KL and the dimension-wise KL are too
high on average.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm

from vaelab.checks import UsageError, check_at_least_one
from vaelab.evaluation.aggregated import Aggregated
from vaelab.evaluation.averages import Estimate, stratified_mean_and_error
from vaelab.evaluation.batches import Progress, even_draws, map_batches
from vaelab.types import Array, PRNGKey


class Surgery(NamedTuple):
    """The parts of the rate, nats. p is the prior, and expectations are over x and q(z|x).

    rate = cross_entropy − conditional_entropy = mutual_information + marginal_kl, and
    marginal_kl = total_correlation + dimension_wise_kl.
    """

    rate: Estimate  # E log q(z|x) − log p(z)
    cross_entropy: Estimate  # −E log p(z)
    conditional_entropy: Estimate  # −E log q(z|x)
    mutual_information: Estimate  # E log q(z|x) − log q(z), at most log N
    marginal_kl: Estimate  # KL(q(z) ‖ p)
    total_correlation: Estimate  # KL(q(z) ‖ Π_d q(z_d))
    dimension_wise_kl: (
        Estimate  # E Σ_d log q(z_d) − log p(z): Σ_d KL(q(z_d) ‖ p(z_d)) if p factorises
    )
    num_points: int  # samples z
    num_inputs: int  # N


def elbo_surgery(
    aggregated: Aggregated,
    key: PRNGKey,
    *,
    num_points: int = 2000,
    batch_size: int = 100,
    progress: Progress = iter,
) -> Surgery:
    """The parts of the rate of a level, all from the same `num_points` samples z ~ q(z|x_n).

    q(z) has all N inputs as components, also the input of the point. So the parts add up to rounding,
    and the information of a point is at most log N. The inputs of the points are drawn as evenly as
    possible, without replacement. Hoffman & Johnson, 2016; Chen et al., 2018, eq. 2.

    Raises:
      UsageError: num_points or batch_size is below 1.
    """
    check_at_least_one(num_points=num_points)
    index_key, key = jax.random.split(key)
    num_inputs = aggregated.num_inputs
    index = even_draws(index_key, num_points, num_inputs)
    log_prob = map_batches(
        partial(
            _surgery_densities, *aggregated.static, aggregated.subject.params, aggregated.variables
        ),
        index,
        key,
        batch_size=batch_size,
        progress=progress,
    )
    conditional, joint = log_prob["conditional"], log_prob["aggregated"]
    product, prior = log_prob["product"], log_prob["prior"]
    parts = {
        "rate": conditional - prior,
        "cross_entropy": -prior,
        "conditional_entropy": -conditional,
        "mutual_information": conditional - joint,
        "marginal_kl": joint - prior,
        "total_correlation": joint - product,
        "dimension_wise_kl": product - prior,
    }
    estimates = {n: stratified_mean_and_error(values, index) for n, values in parts.items()}
    return Surgery(**estimates, num_points=num_points, num_inputs=num_inputs)


def subsampled_marginal_kl(
    aggregated: Aggregated,
    key: PRNGKey,
    *,
    sizes: Sequence[int],
    num_points: int = 2000,
    batch_size: int = 100,
    progress: Progress = iter,
) -> dict[int, Estimate]:
    """KL(q_n(z) ‖ p), q_n of n random inputs, for each n in `sizes`, by size.

    The excess over n = N is the bias of a marginal KL on a subset. It falls on average with n, because
    the KL is convex. The subsets are nested, one for each size. Standard errors are over samples, for
    the given subset.

    Raises:
      UsageError: there are no sizes, a size is not between 1 and N, or num_points or batch_size is
        below 1.
    """
    check_at_least_one(num_points=num_points)
    num_inputs = aggregated.num_inputs
    if len(sizes) == 0:
        raise UsageError("sizes must hold at least one number of inputs, got none.")
    for size in sizes:
        if not 1 <= size <= num_inputs:
            raise UsageError(f"sizes must lie between 1 and the {num_inputs} inputs, got {size}.")
        check_at_least_one(sizes=size)  # and whole
    order_key, index_key, key = jax.random.split(key, 3)
    order = jax.random.permutation(order_key, num_inputs)
    variables = jax.tree.map(lambda leaf: leaf[order], aggregated.variables)
    draws = [even_draws(index_key, num_points, size) for size in sizes]
    points = [
        np.stack([np.full(num_points, size), index], axis=1)
        for size, index in zip(sizes, draws, strict=True)
    ]
    values = map_batches(
        partial(_marginal_kl, *aggregated.static, aggregated.subject.params, variables),
        np.concatenate(points),
        key,
        batch_size=batch_size,
        progress=progress,
    )
    parts = values.reshape(len(sizes), num_points)
    estimates = map(stratified_mean_and_error, parts, draws)
    return dict(zip(sizes, estimates, strict=True))


@partial(jax.jit, static_argnums=(0, 1, 2))
def _surgery_densities(model, posterior, level, params, variables, index, key) -> dict[str, Array]:
    z, mean, scale, prior = _sample(model, level, params, variables, index, key)
    return {
        "conditional": jnp.sum(norm.logpdf(z, mean, scale), axis=-1),
        "aggregated": posterior.apply(variables, z, method="log_prob"),
        "product": jnp.sum(posterior.apply(variables, z, method="coordinate_log_prob"), axis=-1),
        "prior": prior,
    }


@partial(jax.jit, static_argnums=(0, 1, 2))
def _marginal_kl(model, posterior, level, params, variables, points, key) -> Array:
    size, index = points.T
    z, _, _, prior = _sample(model, level, params, variables, index, key)
    return posterior.apply(variables, z, size, method="log_prob_of_first") - prior


def _sample(model, level, params, variables, index, key) -> tuple[Array, Array, Array, Array]:
    """z ~ q(z|x_index), the mean and scale of its posterior, and log p(z)."""
    noise_key, prior_key = jax.random.split(key)
    mean, scale = variables["params"]["mean"][index], variables["params"]["scale"][index]
    z = mean + scale * jax.random.normal(noise_key, mean.shape)
    return z, mean, scale, model.at(params).level_log_prior(z, level, prior_key)
