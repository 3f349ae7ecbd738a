"""Annealed importance sampling against evidences in closed form and by quadrature."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats
from oracles import LinearGaussian, critical_value, within_confidence, z_scores
from scipy.special import logsumexp

from vaelab import evaluation
from vaelab.evaluation.annealing import schedule
from vaelab.likelihoods import BernoulliDecoder, GaussianDecoder
from vaelab.models import VAE
from vaelab.networks import MLP, ConditionalGaussian
from vaelab.priors import Given, HierarchicalPrior, ResampledPrior, StandardNormal

N, D = 4, 2
ORACLE = LinearGaussian.random(0, num_dims=N, latent_dim=D, sigma=0.5)
X = (ORACLE.sample(1, 3) * np.array([[1.0], [2.0], [3.0]])).astype(np.float32)
KEY = jax.random.key(0)


def dense(kernel, bias) -> dict:
    return {"Dense_0": {"kernel": jnp.asarray(kernel, "f"), "bias": jnp.asarray(bias, "f")}}


def gaussian(kernel, bias, log_variance) -> dict:
    """Parameters of a linear ConditionalGaussian."""
    kernel = np.concatenate([kernel, np.zeros_like(kernel)], axis=1)
    return dense(kernel, np.concatenate([bias, np.broadcast_to(log_variance, len(bias))]))


def make_model(prior, decoder=None) -> VAE:
    return VAE(
        encoder=ConditionalGaussian(MLP(()), D),
        decoder=decoder or GaussianDecoder(MLP(()), shape=(N,), scale=ORACLE.sigma),
        prior=prior,
    )


MODEL = make_model(StandardNormal(D))
# An encoder that is wrong with certainty: importance sampling with it fails.
BAD_ENCODER = gaussian(np.zeros((N, D)), np.full(D, 7.0), -6.0)
PARAMS = {"encoder": BAD_ENCODER, "decoder": dense(ORACLE.weight.T, ORACLE.bias)}


@functools.cache
def repeated(num_temperatures: int):
    """Many independent estimates of the log p(x) of one x, from two chains each."""
    x = np.repeat(X[:1], 3000, axis=0)
    return evaluation.annealed_importance_sampling(
        evaluation.Subject(MODEL, PARAMS, x),
        KEY,
        num_chains=2,
        num_temperatures=num_temperatures,
        num_leapfrogs=3,
        batch_size=3000,
    )


def test_annealing_is_unbiased_with_any_encoder():
    result = repeated(20)
    ratio = np.exp(result.log_prob - ORACLE.log_prob(X[:1]))
    assert within_confidence(ratio, 1.0)
    assert np.std(ratio) / np.sqrt(3000) < 0.02  # the interval is narrow
    assert 1.0 < result.effective_sample_size < 2.0
    assert (result.num_chains, result.num_temperatures, result.num_leapfrogs) == (2, 20, 3)


def test_annealing_is_a_lower_bound_that_becomes_tighter():
    gaps = [repeated(T).log_prob - ORACLE.log_prob(X[:1]) for T in (1, 20)]
    assert z_scores(gaps[1] - gaps[0], 0.0) > critical_value(1)
    assert -0.5 < np.mean(gaps[1]) < 0
    assert np.mean(gaps[0]) < -1


def test_one_temperature_is_importance_sampling_from_the_prior():
    """E log of the mean of p(x|z) over two draws from the prior, by drawing them in numpy."""
    z = np.random.default_rng(0).normal(size=(2, 30_000, D))
    log_w = scipy.stats.norm.logpdf(X[0], z @ ORACLE.weight.T + ORACLE.bias, ORACLE.sigma).sum(-1)
    expected = logsumexp(log_w, axis=0) - np.log(2)
    assert scipy.stats.ks_2samp(repeated(1).log_prob, expected).pvalue > 1e-3


def test_every_example_has_its_own_estimate():
    shown = []

    def progress(batches):
        shown.extend(batches)
        return batches

    result = evaluation.annealed_importance_sampling(
        evaluation.Subject(MODEL, PARAMS, X),
        KEY,
        num_chains=200,
        num_temperatures=100,
        num_leapfrogs=5,
        batch_size=2,
        progress=progress,
    )
    expected = ORACLE.log_prob(X)
    np.testing.assert_allclose(result.log_prob, expected, atol=0.15)
    assert np.ptp(expected) > 1.0
    np.testing.assert_allclose(result.mean, np.mean(result.log_prob))
    error = np.std(result.log_prob, ddof=1) / np.sqrt(3)
    np.testing.assert_allclose(result.standard_error, error)
    assert 120 < result.effective_sample_size <= 200
    assert 0.6 < result.acceptance_rate < 0.75  # the target of the step sizes is 0.65
    assert shown == [0, 1]
    plain = evaluation.log_likelihood(
        evaluation.Subject(MODEL, PARAMS, X), KEY, num_samples=100, batch_size=3
    )
    assert np.all(plain.log_prob < expected - 10)


def test_hierarchical_priors_are_annealed_with_their_auxiliary_variables():
    """ζ ~ N(0, I), z|ζ ~ N(Aζ + b, S), x|z ~ N(Wz + c, σ²I): x is Gaussian. ζ has one coordinate."""
    A, b, S = np.array([[1.4], [-0.6]]), np.array([0.5, -0.3]), np.array([0.2, 0.6])
    prior = HierarchicalPrior(
        D,
        num_samples=1,
        encoder=ConditionalGaussian(MLP(()), 1),
        decoder=ConditionalGaussian(MLP(()), D),
        top=StandardNormal(1),
    )
    networks = {
        "encoder": gaussian(np.zeros((D, 1)), np.full(1, -5.0), -6.0),  # annealing does not use it
        "decoder": gaussian(A.T, b, np.log(S)),
    }
    x = np.repeat(X[:1], 1000, axis=0)
    result = evaluation.annealed_importance_sampling(
        evaluation.Subject(make_model(prior), PARAMS | {"prior": networks}, x),
        KEY,
        num_chains=4,
        num_temperatures=40,
        num_leapfrogs=3,
        batch_size=1000,
    )
    W = ORACLE.weight
    covariance = W @ (A @ A.T + np.diag(S)) @ W.T + ORACLE.sigma**2 * np.eye(N)
    exact = scipy.stats.multivariate_normal(W @ b + ORACLE.bias, covariance).logpdf(X[0])
    ratio = np.exp(result.log_prob - exact)
    assert within_confidence(ratio, 1.0)
    assert np.std(ratio) / np.sqrt(1000) < 0.02


def test_resampled_priors_are_annealed_with_their_other_tries():
    """p(z) ∝ ((1 − α) a(z)/Z + α) N(z; 0, I), a not constant; log p(x) by quadrature."""
    prior = ResampledPrior(D, max_tries=3, num_samples=1, hidden=(4,))
    rng = np.random.default_rng(3)
    first, last = 2 * rng.normal(size=(D, 4)), 2 * rng.normal(size=(4, 1))
    networks = {
        "trunk": dense(first, np.zeros(4)),
        "head": {"kernel": jnp.asarray(last, "f"), "bias": jnp.zeros(1)},
    }
    middle = (np.arange(600) + 0.5) / 50 - 6
    z = np.stack(np.meshgrid(middle, middle), axis=-1)
    log_proposal = scipy.stats.norm.logpdf(z).sum(-1)
    accepted = scipy.special.expit((np.tanh(z @ first) @ last)[..., 0])
    share = np.sum(accepted * np.exp(log_proposal)) / 2500
    alpha = (1 - share) ** 2
    log_prior = log_proposal + np.log((1 - alpha) * accepted / share + alpha)
    location = z @ ORACLE.weight.T + ORACLE.bias
    log_likelihood = scipy.stats.norm.logpdf(X[0], location, ORACLE.sigma).sum(-1)
    exact = logsumexp(log_prior + log_likelihood) - np.log(2500)
    assert abs(exact - ORACLE.log_prob(X[:1])[0]) > 0.2  # the prior is another one

    result = evaluation.annealed_importance_sampling(
        evaluation.Subject(
            make_model(prior), PARAMS | {"prior": networks}, np.repeat(X[:1], 1000, axis=0)
        ),
        KEY,
        num_chains=4,
        num_temperatures=40,
        num_leapfrogs=3,
        batch_size=1000,
    )
    ratio = np.exp(result.log_prob - exact)
    assert within_confidence(ratio, 1.0)
    assert np.std(ratio) / np.sqrt(1000) < 0.03


def test_annealing_agrees_with_importance_sampling_and_quadrature():
    """A nonlinear decoder: a small network of bits."""
    model = make_model(StandardNormal(D), BernoulliDecoder(MLP((5,)), shape=(6,)))
    rng = np.random.default_rng(0)
    first, last = 2 * rng.normal(size=(D, 5)), 2 * rng.normal(size=(5, 6))
    decoder = {"trunk": dense(first, np.zeros(5)), **dense(last, np.full(6, -0.5))}
    params = {"encoder": gaussian(np.zeros((6, D)), np.zeros(D), 0.0), "decoder": decoder}
    x = rng.integers(0, 2, size=(4, 6)).astype(np.float32)

    middle = (np.arange(600) + 0.5) / 50 - 6
    z = np.stack(np.meshgrid(middle, middle), axis=-1)[..., None, :]
    logits = np.maximum(z @ first, 0.0) @ last - 0.5
    log_joint = np.sum(x * logits - np.logaddexp(0.0, logits), axis=-1)
    log_joint = log_joint + scipy.stats.norm.logpdf(z).sum(-1)
    exact = logsumexp(log_joint, axis=(0, 1)) - 2 * np.log(50)

    annealed = evaluation.annealed_importance_sampling(
        evaluation.Subject(model, params, x),
        KEY,
        num_chains=400,
        num_temperatures=60,
        num_leapfrogs=4,
        batch_size=4,
    )
    plain = evaluation.log_likelihood(
        evaluation.Subject(model, params, x), KEY, num_samples=20_000, batch_size=4
    )
    np.testing.assert_allclose(annealed.log_prob, exact, atol=0.1)
    np.testing.assert_allclose(plain.log_prob, exact, atol=0.1)


def test_temperatures_rise_from_0_to_1_and_are_densest_at_the_ends():
    temperatures = schedule(100)
    assert (len(temperatures), temperatures[0], temperatures[-1]) == (101, 0.0, 1.0)
    steps = np.diff(temperatures)
    assert np.all(steps > 0)
    np.testing.assert_allclose(steps, steps[::-1])
    assert np.argmax(steps) in (49, 50)
    assert steps[0] < 0.1 * np.max(steps)


class DiscretePrior(StandardNormal):
    def sample_joint(self, key, num_samples, given=Given()):
        return self.sample(key, num_samples), jnp.zeros(num_samples, jnp.int32)


def test_errors_are_sentences():
    for name in ("num_chains", "num_temperatures", "num_leapfrogs", "batch_size"):
        with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
            evaluation.annealed_importance_sampling(
                evaluation.Subject(MODEL, PARAMS, X), KEY, **{name: 0}
            )
    with pytest.raises(ValueError, match="the data are empty: there is nothing to evaluate"):
        evaluation.annealed_importance_sampling(evaluation.Subject(MODEL, PARAMS, X[:0]), KEY)
    with pytest.raises(ValueError, match=r"are integers: use evaluation\.log_likelihood"):
        evaluation.annealed_importance_sampling(
            evaluation.Subject(make_model(DiscretePrior(D)), PARAMS, X), KEY
        )
