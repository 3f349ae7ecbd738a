"""The prior against the aggregated posterior q(z) = 1/N Σ_n q(z|x_n): what tells priors apart.

The inputs x [N, ...] are the training set as the encoder saw it, every one of them a component, in
one fixed binarisation: binarise grey images once before, and never afresh per call. Estimates are
averages over samples z, computed on batches of points against chunks of components; standard errors
are over the samples, the N inputs being given. With fewer than 2N samples these errors are too large
(`averages.stratified_mean_and_error`).

Where the prior is not exact, log p(z) is underestimated (less, with more inner samples): rate,
cross-entropy, marginal KL, KL(q‖p) and the dimension-wise KL are too high on average, KL(p‖q) is
too low.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm

from vaelab.checks import check_at_least_one
from vaelab.evaluation.averages import Estimate, mean_and_error, stratified_mean_and_error
from vaelab.evaluation.batches import Progress, even_draws, map_batches
from vaelab.priors.aggregated import AggregatedPosterior, mean_and_scale
from vaelab.types import Array, Examples, Model, PRNGKey, PyTree, images_of


class Surgery(NamedTuple):
    """The parts of the rate, nats; p is the prior and expectations are over x and q(z|x).

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


class Holes(NamedTuple):
    """Where the prior p has mass and the aggregated posterior q has none, and the reverse."""

    prior_to_aggregated: Estimate  # KL(p ‖ q), nats: large where p has mass that q has not
    aggregated_to_prior: Estimate  # KL(q ‖ p), nats: the marginal KL
    hole_mass: Estimate  # share of p where q is below `level`; 0.01 if p = q
    level: float  # log q(z) that 99 % of q's own samples exceed
    num_samples: int  # from p, and as many from q


def aggregated_posterior(
    model: Model,
    params: PyTree,
    data: Examples | np.ndarray | Array,
    *,
    batch_size: int = 500,
    chunk_size: int = 1000,
    progress: Progress = iter,
) -> tuple[AggregatedPosterior, PyTree]:
    """q(z) = 1/N Σ_n q(z|x_n) as a prior, and its variables {"params": ...}, of images [N, ...].

    Raises:
      ValueError: there are no data, they have a context, or the encoder's posterior is no diagonal Gaussian.
    """
    mean, scale = map_batches(
        partial(_encode, model, params),
        images_of(data),
        jax.random.key(0),  # nothing is random
        batch_size=batch_size,
        progress=progress,
    )
    variables = {"mean": jnp.asarray(mean, jnp.float32), "scale": jnp.asarray(scale, jnp.float32)}
    return AggregatedPosterior(mean.shape[1], chunk_size), {"params": variables}


def elbo_surgery(
    model: Model,
    params: PyTree,
    data: Examples | np.ndarray | Array,
    key: PRNGKey,
    *,
    num_points: int = 2000,
    batch_size: int = 100,
    progress: Progress = iter,
) -> Surgery:
    """The rate in its parts, all from the same `num_points` samples z ~ q(z|x_n). Images [N, ...].

    q(z) has all N inputs as components, each point's own among them, so that the parts add up (to
    rounding) and no point's information exceeds log N. The points' inputs are drawn without
    replacement, evenly often. Hoffman & Johnson, 2016; Chen et al., 2018, eq. 2.
    """
    check_at_least_one(num_points=num_points)
    index_key, key = jax.random.split(key)
    x = images_of(data)
    posterior, variables = aggregated_posterior(model, params, x)
    index = even_draws(index_key, num_points, len(x))
    log_prob = map_batches(
        partial(_surgery_densities, model, posterior, params, variables),
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
    return Surgery(**estimates, num_points=num_points, num_inputs=len(x))


def subsampled_marginal_kl(
    model: Model,
    params: PyTree,
    data: Examples | np.ndarray | Array,
    key: PRNGKey,
    *,
    sizes: Sequence[int],
    num_points: int = 2000,
    batch_size: int = 100,
    progress: Progress = iter,
) -> dict[int, Estimate]:
    """KL(q_n(z) ‖ p), q_n of n random inputs, for each n in `sizes`, by size. Images [N, ...].

    Its excess over n = N shows the bias of estimating the marginal KL on a subset: on average it falls
    as n grows, for KL is convex. The subsets are nested, one of each size; standard errors are over
    samples, the subset being given.
    """
    check_at_least_one(num_points=num_points)
    x = images_of(data)
    for size in sizes:
        if not 1 <= size <= len(x):
            raise ValueError(f"sizes must lie between 1 and the {len(x)} inputs, got {size}.")
    order_key, index_key, key = jax.random.split(key, 3)
    order = np.asarray(jax.random.permutation(order_key, len(x)))
    posterior, variables = aggregated_posterior(model, params, np.asarray(x)[order])
    draws = [even_draws(index_key, num_points, size) for size in sizes]
    points = [
        np.stack([np.full(num_points, size), index], axis=1)
        for size, index in zip(sizes, draws, strict=True)
    ]
    values = map_batches(
        partial(_marginal_kl, model, posterior, params, variables),
        np.concatenate(points),
        key,
        batch_size=batch_size,
        progress=progress,
    )
    parts = values.reshape(len(sizes), num_points)
    estimates = map(stratified_mean_and_error, parts, draws)
    return dict(zip(sizes, estimates, strict=True))


def holes(
    model: Model,
    params: PyTree,
    data: Examples | np.ndarray | Array,
    key: PRNGKey,
    *,
    num_samples: int = 2000,
    batch_size: int = 100,
    progress: Progress = iter,
) -> Holes:
    """Both KLs between prior and aggregated posterior, and the prior's mass in q's holes. Images [N, ...].

    A hole is where log q(z) is below the 1 % quantile of log q under q itself. The hole mass has a
    bootstrap standard error, over p's samples and over q's, which fix the quantile. If it is 0, the
    mass is below 3/M with 95 % confidence.
    """
    check_at_least_one(num_samples=num_samples)
    key, bootstrap_key = jax.random.split(key)
    posterior, variables = aggregated_posterior(model, params, data)
    log_p, log_q = map_batches(
        partial(_densities_of_both, model, posterior, params, variables, batch_size),
        np.arange(num_samples),
        key,
        batch_size=batch_size,
        progress=progress,
    )
    hole_mass, level = _hole_mass(log_q[:, 0], log_q[:, 1], bootstrap_key)
    return Holes(
        prior_to_aggregated=mean_and_error(log_p[:, 0] - log_q[:, 0]),
        aggregated_to_prior=mean_and_error(log_q[:, 1] - log_p[:, 1]),
        hole_mass=hole_mass,
        level=level,
        num_samples=num_samples,
    )


def _hole_mass(of_p: np.ndarray, of_q: np.ndarray, key: PRNGKey) -> tuple[Estimate, float]:
    """Share of p where log q is below q's own 1 % quantile, and that quantile. log q at z ~ p, z ~ q [M]."""
    level = np.quantile(of_q, 0.01)
    p_rows, q_rows = np.asarray(jax.random.randint(key, (2, 200, len(of_p)), 0, len(of_p)))
    levels = np.quantile(of_q[q_rows], 0.01, axis=1, keepdims=True)
    bootstrap = np.mean(of_p[p_rows] < levels, axis=1)
    return Estimate(float(np.mean(of_p < level)), float(np.std(bootstrap, ddof=1))), float(level)


@partial(jax.jit, static_argnums=0)
def _encode(model, params, x, key) -> tuple[Array, Array]:
    del key
    return mean_and_scale(model.apply({"params": params}, x, method="encode"))


@partial(jax.jit, static_argnums=(0, 1))
def _surgery_densities(model, posterior, params, variables, index, key) -> dict[str, Array]:
    z, mean, scale, prior = _sample(model, params, variables, index, key)
    return {
        "conditional": jnp.sum(norm.logpdf(z, mean, scale), axis=-1),
        "aggregated": posterior.apply(variables, z, method="log_prob"),
        "product": jnp.sum(posterior.apply(variables, z, method="coordinate_log_prob"), axis=-1),
        "prior": prior,
    }


@partial(jax.jit, static_argnums=(0, 1))
def _marginal_kl(model, posterior, params, variables, points, key) -> Array:
    size, index = points.T
    z, _, _, prior = _sample(model, params, variables, index, key)
    return posterior.apply(variables, z, size, method="log_prob_of_first") - prior


def _sample(model, params, variables, index, key) -> tuple[Array, Array, Array, Array]:
    """z ~ q(z|x_index), the mean and scale it is from, and log p(z)."""
    noise_key, prior_key = jax.random.split(key)
    mean, scale = variables["params"]["mean"][index], variables["params"]["scale"][index]
    z = mean + scale * jax.random.normal(noise_key, mean.shape)
    return z, mean, scale, model.apply({"params": params}, z, prior_key, method="prior_log_prob")


@partial(jax.jit, static_argnums=(0, 1, 4))
def _densities_of_both(model, posterior, params, variables, size, x, key) -> tuple[Array, Array]:
    """log p and log q, of z ~ p in the first column and of z ~ q in the second, [B, 2] each."""
    del x
    p_key, q_key, key = jax.random.split(key, 3)
    of_p = model.apply({"params": params}, p_key, size, method="sample_latents")
    of_q = posterior.apply(variables, q_key, size, method="sample")
    z = jnp.stack([of_p, of_q], axis=1)
    log_p = model.apply({"params": params}, z, key, method="prior_log_prob")
    return log_p, posterior.apply(variables, z, method="log_prob")
