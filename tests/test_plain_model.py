"""Evaluation of a model without Flax: any object with the contract's methods, against its closed form."""

from __future__ import annotations

import distrax
import jax
import jax.numpy as jnp
import numpy as np
from oracles import LinearGaussian

from vaelab import evaluation
from vaelab.evaluation import Subject
from vaelab.types import Terms

D, N = 2, 4
ORACLE = LinearGaussian(
    np.linalg.qr(np.random.default_rng(0).normal(size=(N, D)))[0] * np.array([1.5, 0.7]),
    np.array([0.3, -1.0, 0.5, 0.0]), sigma=0.8,
)  # fmt: skip
X = ORACLE.sample(1, 40).astype(np.float32)
KEY = jax.random.key(0)


def normal(mean, scale):
    return distrax.Independent(distrax.Normal(mean, jnp.broadcast_to(scale, mean.shape)), 1)


class Plain:
    """p(z) = N(0, I), p(x|z) = N(Wz + b, σ²I), and its exact posterior; params is W."""

    conditional = False
    bernoulli_levels = ()

    def at(self, params):
        return Bound(params)

    def check_data(self, examples):
        assert examples.x.shape[1:] == (N,)


class Bound:
    def __init__(self, weight):
        self.weight = weight

    def encode(self, x, context=None):
        precision = (
            1 + jnp.sum(self.weight**2, axis=0) / ORACLE.sigma**2
        )  # W has orthogonal columns
        mean = (x - ORACLE.bias) @ self.weight / ORACLE.sigma**2 / precision
        return normal(mean, precision**-0.5)

    def terms(self, encoding, x, key, num_samples=1, weights=None):
        z = encoding.sample(seed=key, sample_shape=(num_samples,))
        rate = encoding.log_prob(z) - self.log_prior((z,))
        likelihood = self.decode((z,))
        return Terms(-likelihood.log_prob(x), (rate,), (None,), (z,), likelihood)

    def __call__(self, x, key, num_samples=1, weights=None, context=None):
        return self.terms(self.encode(x), x, key, num_samples)

    def decode(self, latents, context=None):
        return normal(latents[0] @ self.weight.T + ORACLE.bias, ORACLE.sigma)

    def log_prior(self, latents, key=None, context=None):
        return normal(jnp.zeros(D), 1.0).log_prob(latents[0])

    def log_joint_prior(self, latents, auxiliary, context=None):
        return self.log_prior(latents)

    def sample_joint(self, key, num_samples, context=None):
        return (jax.random.normal(key, (num_samples, D)),), ()

    def sample_latents(self, key, num_samples, context=None):
        return self.sample_joint(key, num_samples)[0]

    def level_posterior(self, encoding, level=0):
        return encoding

    def level_log_prior(self, z, level=0, key=None):
        return self.log_prior((z,))


SUBJECT = Subject(Plain(), jnp.asarray(ORACLE.weight, jnp.float32), X)


def test_log_likelihood_and_elbo_are_the_evidence():
    likelihood = evaluation.log_likelihood(SUBJECT, KEY, num_samples=10)
    np.testing.assert_allclose(likelihood.log_prob, ORACLE.log_prob(X), rtol=1e-4)
    functions = {"elbo": evaluation.elbo}
    elbo = evaluation.expectations(SUBJECT, KEY, functions, num_samples=2)["elbo"]
    np.testing.assert_allclose(elbo.mean, np.mean(ORACLE.log_prob(X)), rtol=1e-4)


def test_annealing_needs_no_posterior():
    annealed = evaluation.annealed_importance_sampling(
        SUBJECT.take(slice(3)), KEY, num_chains=300, num_temperatures=50, num_leapfrogs=4
    )
    np.testing.assert_allclose(annealed.log_prob, ORACLE.log_prob(X[:3]), atol=0.15)


def test_surgery_gives_the_parts_of_the_rate():
    aggregated = evaluation.aggregated_posterior(SUBJECT)
    surgery = evaluation.elbo_surgery(aggregated, KEY, num_points=4000)
    kl = np.sum(ORACLE.kl(ORACLE.posterior_mean(X), ORACLE.best_diagonal_variance), axis=-1)
    assert abs(surgery.rate.mean - np.mean(kl)) < 4 * surgery.rate.standard_error
    marginal = evaluation.marginal_kl(SUBJECT, KEY, num_points=2000)
    error = np.hypot(marginal.standard_error, surgery.marginal_kl.standard_error)
    assert abs(marginal.mean - surgery.marginal_kl.mean) < 4 * error
    holes = evaluation.holes(aggregated, KEY, num_samples=2000)
    error = np.hypot(holes.aggregated_to_prior.standard_error, error)
    assert abs(holes.aggregated_to_prior.mean - marginal.mean) < 4 * error
    assert evaluation.active_units(SUBJECT, KEY) == [2]
