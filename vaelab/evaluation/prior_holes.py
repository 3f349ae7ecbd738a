"""Holes: regions with mass of the prior and without mass of the aggregated posterior."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.checks import check_at_least_one
from vaelab.evaluation.aggregated import Aggregated
from vaelab.evaluation.averages import Estimate, mean_and_error
from vaelab.evaluation.batches import Progress, map_batches
from vaelab.types import Array, PRNGKey


class Holes(NamedTuple):
    """KLs between the prior p and the aggregated posterior q, and the mass of p in the holes of q."""

    prior_to_aggregated: Estimate  # KL(p ‖ q), nats: large if p has mass and q has none
    aggregated_to_prior: Estimate  # KL(q ‖ p), nats: the marginal KL
    hole_mass: Estimate  # share of p where q is below `level`; 0.01 if p = q
    level: float  # log q(z) that 99 % of the samples of q exceed
    num_samples: int  # from p, and the same number from q


def holes(
    aggregated: Aggregated,
    key: PRNGKey,
    *,
    num_samples: int = 2000,
    batch_size: int = 100,
    progress: Progress = iter,
) -> Holes:
    """Both KLs between the prior and the aggregated posterior of a level, and the mass of p in the holes.

    In a hole log q(z) is below the 1 % quantile of log q under q. The hole mass has a bootstrap
    standard error over the samples of p and of q. The samples of q determine the quantile. A hole mass
    of 0 means a mass below 3/M with 95 % confidence, M = `num_samples`. If the prior is not exact, log
    p(z) is underestimated: on average KL(q‖p) is too high and KL(p‖q) is too low.

    Raises:
      UsageError: num_samples or batch_size is below 1.
    """
    check_at_least_one(num_samples=num_samples)
    key, bootstrap_key = jax.random.split(key)
    log_p, log_q = map_batches(
        partial(
            _densities_of_both,
            *aggregated.static,
            batch_size,
            aggregated.subject.params,
            aggregated.variables,
        ),
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
    """The share of p with log q below the 1 % quantile of q, and the quantile. [M] log q at z ~ p, [M] at z ~ q."""
    level = np.quantile(of_q, 0.01)
    p_rows, q_rows = np.asarray(jax.random.randint(key, (2, 200, len(of_p)), 0, len(of_p)))
    levels = np.quantile(of_q[q_rows], 0.01, axis=1, keepdims=True)
    bootstrap = np.mean(of_p[p_rows] < levels, axis=1)
    return Estimate(float(np.mean(of_p < level)), float(np.std(bootstrap, ddof=1))), float(level)


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _densities_of_both(
    model, posterior, level, size, params, variables, x, key
) -> tuple[Array, Array]:
    """log p and log q, of z ~ p in the first column and of z ~ q in the second, [B, 2] each."""
    del x
    p_key, q_key, key = jax.random.split(key, 3)
    of_p = model.at(params).sample_latents(p_key, size)[level]
    of_q = posterior.apply(variables, q_key, size, method="sample")
    z = jnp.stack([of_p, of_q], axis=1)
    log_p = model.at(params).level_log_prior(z, level, key)
    return log_p, posterior.apply(variables, z, method="log_prob")
