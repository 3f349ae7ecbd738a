"""A VAE in Equinox with a VampPrior, trained under a bound on the negative log-likelihood by GECO.

  python -m experiments.with_equinox

Rezende & Viola, 2018, algorithm 1; Tomczak & Welling, 2018. Cost: seconds on two CPU cores. A model
of any other library takes the same four parts: a loss, a constraint, a prior and a saddle point.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax.scipy.stats import norm
from sklearn.datasets import load_digits

from vaelab import constraints, losses, priors, saddle
from vaelab.types import Array, PRNGKey, PyTree, Saddle

LATENT_DIM, NUM_SAMPLES, BATCH_SIZE = 4, 2, 64
KAPPA = 0.25  # tolerated nats per pixel


class Model(eqx.Module):
    """q(z|x), p(x|z), and the parameters of p(z)."""

    encoder: eqx.nn.MLP
    decoder: eqx.nn.MLP
    prior: PyTree

    def encode(self, x: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of q(z|x). [B, 8, 8, 1] -> [B, D] each."""
        mean, log_scale = jnp.split(jax.vmap(self.encoder)(x.reshape(len(x), -1)), 2, axis=-1)
        return mean, jnp.exp(log_scale)


def train(num_steps: int, seed: int = 0) -> tuple[Saddle, dict[str, Array]]:
    """Trains on 1500 binarised digits: parameters and multipliers, and NLL and ELBO of the other digits."""
    x = jnp.asarray(load_digits().images > 7.5, jnp.float32)[..., None]
    x, test = x[:1500], x[1500:]
    keys = jax.random.split(jax.random.key(seed), 4)
    encoder = eqx.nn.MLP(64, 2 * LATENT_DIM, 64, depth=1, key=keys[0])
    decoder = eqx.nn.MLP(LATENT_DIM, 64, 64, depth=1, key=keys[1])
    model = Model(encoder, decoder, prior=None)
    vamp = priors.VampPrior(LATENT_DIM, shape=(8, 8, 1), num_components=50, from_data=True)
    params, prior = priors.functional(vamp, keys[2], model.encode)
    model = Model(encoder, decoder, vamp.start_from(params, x, keys[3]))
    params, static = eqx.partition(model, eqx.is_inexact_array)

    def lagrangian(variables: Saddle, x: Array, key: PRNGKey) -> tuple[Array, dict[str, Array]]:
        model = eqx.combine(variables.params, static)
        mean, scale = model.encode(x)
        z = mean + scale * jax.random.normal(key, (NUM_SAMPLES, *mean.shape))
        log_q = jnp.sum(norm.logpdf(z, mean, scale), axis=-1)
        rate = log_q - prior.log_prob(model.prior, z, priors.Given(encode=model.encode))
        logits = jax.vmap(jax.vmap(model.decoder))(z).reshape(NUM_SAMPLES, *x.shape)
        distortion = jnp.sum(jax.nn.softplus(logits) - x * logits, axis=(2, 3, 4))
        bound = {"nll": constraints.negative_log_likelihood(distortion, kappa=KAPPA, num_dims=64)}
        metrics = {"nll": distortion.mean() / 64, "elbo": losses.elbo(distortion, rate).mean()}
        return losses.lagrangian(rate, bound, variables.multipliers).mean(), metrics

    tx = saddle.saddle_point(optax.adam(2e-3), saddle.geco(0.1), scales=64)
    variables = Saddle(params, {"nll": jnp.array(1.0)})

    @jax.jit
    def step(variables, state, key):
        batch_key, sample_key = jax.random.split(key)
        batch = jax.random.choice(batch_key, x, (BATCH_SIZE,))
        gradient = jax.grad(lagrangian, has_aux=True)(variables, batch, sample_key)[0]
        updates, state = tx.update(gradient, state, variables)
        return optax.apply_updates(variables, updates), state

    state = tx.init(variables)
    for key in jax.random.split(jax.random.key(seed + 2), num_steps):
        variables, state = step(variables, state, key)
    return variables, jax.jit(lagrangian)(variables, test, jax.random.key(seed + 1))[1]


if __name__ == "__main__":
    variables, test = train(num_steps=2000)
    print(
        f"test: NLL {test['nll']:.3f} nats per pixel, at most {KAPPA} is tolerated in training; "
        f"ELBO {test['elbo']:.1f} nats; multiplier {variables.multipliers['nll']:.2f}"
    )
