"""A VAE in Flax NNX with a hierarchical prior, trained under a bound on its NLL by GECO.

  python -m experiments.with_nnx

Rezende & Viola, 2018, algorithm 1; Klushyn et al., 2019. Cost: half a minute on two CPU cores.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.scipy.stats import norm
from sklearn.datasets import load_digits

from vaelab import constraints, losses, priors, saddle
from vaelab.types import Array, PRNGKey, Saddle

LATENT_DIM, NUM_SAMPLES, BATCH_SIZE = 4, 2, 64
KAPPA = 0.25  # tolerated nats per pixel


class Model(nnx.Module):
    """q(z|x) and p(x|z)."""

    def __init__(self, rngs: nnx.Rngs):
        self.encoder = nnx.Sequential(
            nnx.Linear(64, 64, rngs=rngs), nnx.relu, nnx.Linear(64, 2 * LATENT_DIM, rngs=rngs)
        )
        self.decoder = nnx.Sequential(
            nnx.Linear(LATENT_DIM, 64, rngs=rngs), nnx.relu, nnx.Linear(64, 64, rngs=rngs)
        )

    def encode(self, x: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of q(z|x). [B, 64] -> [B, D] each."""
        mean, log_scale = jnp.split(self.encoder(x), 2, axis=-1)
        return mean, jnp.exp(log_scale)


def train(num_steps: int, seed: int = 0) -> tuple[Saddle, dict[str, Array]]:
    """Trains on 1500 binarised digits: parameters and multipliers, and NLL and ELBO of the other digits."""
    x = jnp.asarray(load_digits().data > 7.5, jnp.float32)
    x, test = x[:1500], x[1500:]
    graph, weights = nnx.split(Model(nnx.Rngs(seed)))
    vhp = priors.HierarchicalPrior(LATENT_DIM, num_samples=4, hidden=(32,))
    prior_params, prior = priors.functional(vhp, jax.random.key(seed))
    params = {"model": weights, "prior": prior_params}

    def lagrangian(variables: Saddle, x: Array, key: PRNGKey) -> tuple[Array, dict[str, Array]]:
        model = nnx.merge(graph, variables.params["model"])
        z_key, prior_key = jax.random.split(key)
        mean, scale = model.encode(x)
        z = mean + scale * jax.random.normal(z_key, (NUM_SAMPLES, *mean.shape))
        log_q = jnp.sum(norm.logpdf(z, mean, scale), axis=-1)
        rate = log_q - prior.log_prob(variables.params["prior"], z, priors.Given(prior_key))
        logits = model.decoder(z)
        distortion = jnp.sum(jax.nn.softplus(logits) - x * logits, axis=-1)
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
