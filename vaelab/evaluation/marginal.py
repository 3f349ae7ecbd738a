"""KL(q(z) ‖ p(z)) for any posterior with a density. `elbo_surgery` needs Gaussian posteriors."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp

from vaelab.checks import UndefinedError, UsageError, check_at_least_one
from vaelab.evaluation.averages import Estimate, stratified_mean_and_error
from vaelab.evaluation.batches import Progress, each_batch, even_draws, map_batches
from vaelab.evaluation.subject import Subject
from vaelab.models.base import Latents
from vaelab.types import Array, PRNGKey


def marginal_kl(
    subject: Subject,
    key: PRNGKey,
    *,
    level: int | None = 0,
    num_points: int = 500,
    batch_size: int = 100,
    progress: Progress = iter,
) -> Estimate:
    """E_q(z)[log q(z) − log p(z)], q(z) = 1/N Σ_n q(z|x_n) over the subject's data. Nats.

    z is the latent vector of one level. With `level` = None it is the vector of all levels, which every
    unconditional model has. The points are z ~ q(z|x_n) for inputs n drawn as evenly as possible. The
    density of each point under q(z) counts all N inputs, which are encoded once. With fewer inputs
    than the training set, q(z) is another density with a larger KL. Rosca et al., 2018; Rezende &
    Viola, 2018, section 4.1.1.

    The standard error is over the points. With fewer than 2N points it is too large, see
    `averages.stratified_mean_and_error`.

    Raises:
      UsageError: there are fewer than two points, or batch_size is below 1.
      UndefinedError: the level has no posterior or prior of its own, or the model is conditional.
    """
    check_at_least_one(num_points=num_points, batch_size=batch_size)
    if num_points < 2:
        raise UsageError(f"num_points must be at least 2, got {num_points}.")
    if subject.model.conditional:
        raise UndefinedError(
            "the marginal KL compares q(z) with one prior for all data, and a conditional model has a "
            "prior for each context."
        )
    draw_key, z_key, prior_key = jax.random.split(key, 3)
    x = np.asarray(subject.examples.x)
    chosen = even_draws(draw_key, num_points, len(x))
    draw = partial(_draw, subject.model, level, subject.params)
    drawn = map_batches(draw, x[chosen], z_key, batch_size=batch_size)
    z = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), drawn)
    log_sums = each_batch(
        partial(_log_sum, subject.model, level, subject.params, z),
        (x, np.arange(len(x))),
        z_key,  # nothing is random
        batch_size=batch_size,
        progress=progress,
    )
    log_q = np.logaddexp.reduce(log_sums, axis=0)
    log_p = _log_prior(subject.model, level, subject.params, z, prior_key)
    differences = log_q - np.log(len(x)) - np.asarray(log_p, np.float64)
    return stratified_mean_and_error(differences, chosen)


@partial(jax.jit, static_argnums=(0, 1))
def _draw(model, level, params, x, key) -> Latents:
    """One z for each input, a tuple of [B, D_l]."""
    bound = model.at(params)
    encoding = bound.encode(x)
    if level is None:
        return tuple(z[0] for z in bound.terms(encoding, x, key).latents)
    return (bound.level_posterior(encoding, level).sample(seed=key),)


@partial(jax.jit, static_argnums=(0, 1))
def _log_sum(model, level, params, z, batch, key) -> Array:
    """log Σ_n q(z|x_n) over a batch of inputs x_n and their numbers n, [P]."""
    del key
    x, number = batch
    bound = model.at(params)
    encoding = bound.encode(x)
    points = tuple(
        jnp.broadcast_to(each[:, None], (len(each), len(x), each.shape[-1])) for each in z
    )
    if level is None:
        log_prob = bound.log_posterior(encoding, points)
    else:
        log_prob = bound.level_posterior(encoding, level).log_prob(points[0])
    # Copies that fill the last batch have the number of the last input.
    counts = number == number[0] + jnp.arange(len(x))
    return logsumexp(jnp.where(counts, log_prob, -jnp.inf), axis=1)


@partial(jax.jit, static_argnums=(0, 1))
def _log_prior(model, level, params, z, key) -> Array:
    bound = model.at(params)
    if level is None:
        return bound.log_prior(z, key)
    return bound.level_log_prior(z[0], level, key)
