"""KL(q(z) ‖ p(z)) for any posterior with a density: flows, too, where `elbo_surgery` wants Gaussians."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp

from vaelab.evaluation.averages import Estimate, stratified_mean_and_error
from vaelab.evaluation.batches import Progress, even_draws, map_batches
from vaelab.types import Array, Examples, Model, PRNGKey, PyTree, images_of


def marginal_kl(
    model: Model,
    params: PyTree,
    data: Examples | np.ndarray | Array,
    key: PRNGKey,
    *,
    num_points: int = 500,
    batch_size: int = 100,
    progress: Progress = iter,
) -> Estimate:
    """E_q(z)[log q(z) − log p(z)], q(z) = 1/N Σ_n q(z|x_n) over all images [N, ...]. Nats.

    The points are z ~ q(z|x_n) for inputs n drawn as evenly as possible; each point's density under
    q(z) takes all N inputs, encoded once. With fewer inputs than the training set has, q(z) is
    another density, and its KL larger. Rosca et al., 2018; Rezende & Viola, 2018, section 4.1.1.

    The model has one level and methods as `models.VAE`. The standard error is over the
    points, and too large with fewer than 2N of them (`averages.stratified_mean_and_error`).
    """
    if num_points < 2:
        raise ValueError(f"num_points must be at least 2, got {num_points}.")
    draw_key, z_key, prior_key = jax.random.split(key, 3)
    x = images_of(data)
    chosen = even_draws(draw_key, num_points, len(x))
    z = map_batches(partial(_draw, model, params), x[chosen], z_key, batch_size=batch_size)
    z = jnp.asarray(z, jnp.float32)
    log_q = jnp.full(num_points, -jnp.inf)
    for index in progress(range(-(-len(x) // batch_size))):
        batch = x[index * batch_size : (index + 1) * batch_size]
        missing = batch_size - len(batch)
        filled = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)])
        log_q = _add(model, params, filled, batch_size - missing, z, log_q)
    log_q = np.asarray(log_q, np.float64) - np.log(len(x))
    log_p = np.asarray(_log_prior(model, params, z, prior_key), np.float64)
    return stratified_mean_and_error(log_q - log_p, chosen)


@partial(jax.jit, static_argnums=0)
def _draw(model, params, x, key) -> Array:
    """One z for each input, [B, D]."""
    return model.apply({"params": params}, x, method="encode").sample(seed=key)


@partial(jax.jit, static_argnums=0)
def _add(model, params, x, num_inputs, z, log_q) -> Array:
    """log(exp(log_q) + Σ_n q(z|x_n)) over the first `num_inputs` of the batch, [P]."""
    posterior = model.apply({"params": params}, x, method="encode")
    points = jnp.broadcast_to(z[:, None], (len(z), len(x), z.shape[-1]))
    log_prob = posterior.log_prob(points)
    log_prob = jnp.where(jnp.arange(len(x)) < num_inputs, log_prob, -jnp.inf)
    return jnp.logaddexp(log_q, logsumexp(log_prob, axis=1))


@partial(jax.jit, static_argnums=0)
def _log_prior(model, params, z, key) -> Array:
    return model.apply({"params": params}, z, key, method="prior_log_prob")
