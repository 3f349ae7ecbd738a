"""Refined proposals of log p(x): closed forms, quadrature, and unbiased weights."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from oracles import LinearGaussian, within_confidence
from scipy.special import logsumexp
from two_level import TwoLevel

from vaelab import evaluation
from vaelab.checks import UndefinedError
from vaelab.evaluation import Amortised, Refined, Subject
from vaelab.likelihoods import BernoulliDecoder, GaussianDecoder
from vaelab.models import VAE
from vaelab.networks import MLP, ConditionalGaussian
from vaelab.priors import HierarchicalPrior, StandardNormal

N, D = 5, 3
ORACLE = LinearGaussian.random(0, num_dims=N, latent_dim=D, sigma=0.5)  # correlated posteriors
X = ORACLE.sample(1, 3).astype(np.float32)
KEY = jax.random.key(0)


def dense(kernel, bias) -> dict:
    return {"Dense_0": {"kernel": jnp.asarray(kernel, "f"), "bias": jnp.asarray(bias, "f")}}


def gaussian(kernel, bias, log_variance) -> dict:
    """Parameters of a linear ConditionalGaussian."""
    kernel = np.concatenate([kernel, np.zeros_like(kernel)], axis=1)
    return dense(kernel, np.concatenate([bias, np.broadcast_to(log_variance, len(bias))]))


def poor_encoder(shift: float, log_variance: float) -> dict:
    """The exact posterior's mean + shift, and another variance."""
    gain = np.linalg.solve(ORACLE.posterior_precision, ORACLE.weight.T) / ORACLE.sigma**2
    return gaussian(gain.T, shift - gain @ ORACLE.bias, log_variance)


def make_model(prior=None, decoder=None) -> VAE:
    return VAE(
        encoder=ConditionalGaussian(MLP(()), D),
        decoder=decoder or GaussianDecoder(MLP(()), shape=(N,), scale=ORACLE.sigma),
        prior=prior or StandardNormal(D),
    )


DECODER = dense(ORACLE.weight.T, ORACLE.bias)


def linear(encoder: dict, x=X) -> Subject:
    return Subject(make_model(), {"encoder": encoder, "decoder": DECODER}, x)


@pytest.mark.parametrize(
    ("shift", "log_variance", "num_newton_steps"), [(0.5, -1.0, 1), (2.0, -6.0, 4)]
)
def test_a_gaussian_posterior_is_fitted_exactly(shift, log_variance, num_newton_steps):
    """Every weight is p(x): one sample too many or too few would show as log (K ± 1)/K."""
    subject = linear(poor_encoder(shift, log_variance))
    proposal = Refined(num_newton_steps=num_newton_steps, defensive=0.0)
    result = evaluation.log_likelihood(
        subject, KEY, num_samples=7, chunk_size=3, batch_size=2, proposal=proposal
    )
    np.testing.assert_allclose(result.log_prob, ORACLE.log_prob(X), atol=2e-3)
    np.testing.assert_allclose(result.effective_sample_size, 7, rtol=1e-3)
    assert (result.num_samples, result.proposal) == (7, "Gaussian fitted to each example")
    plain = evaluation.log_likelihood(subject, KEY, num_samples=7)
    assert np.all(plain.log_prob < ORACLE.log_prob(X) - 0.1)
    assert plain.proposal == "q(z|x)"


def test_the_defensive_mixture_is_unbiased_in_ragged_chunks():
    x = np.repeat(X[:1], 4000, axis=0)  # as many independent estimates of one log p(x)
    # Without steps and with a wrong encoder the fit stays wrong, and the weights vary.
    proposal = Refined(num_steps=0, defensive=0.4)
    encoder = poor_encoder(1.0, 1.0)
    result = evaluation.log_likelihood(
        linear(encoder, x), KEY, num_samples=8, chunk_size=3, batch_size=1100, proposal=proposal
    )
    ratio = np.exp(result.log_prob - ORACLE.log_prob(X[:1]))
    assert within_confidence(ratio, 1.0)
    assert 0.01 < np.std(ratio) < 1.0
    assert len(np.unique(result.log_prob)) > 3900


def test_estimated_priors_keep_the_weights_unbiased():
    """ζ ~ N(0, 1), z|ζ ~ N(Aζ + b, S), x|z ~ N(Wz + c, σ²I): x is Gaussian. q(ζ|z) is wrong."""
    A, b, S = np.array([[1.4], [-0.6], [0.3]]), np.array([0.5, -0.3, 0.0]), np.array([0.2, 0.6, 1])
    prior = HierarchicalPrior(
        D,
        num_samples=2,
        encoder=ConditionalGaussian(MLP(()), 1),
        decoder=ConditionalGaussian(MLP(()), D),
        top=StandardNormal(1),
    )
    params = {
        "encoder": poor_encoder(0.3, -1.0),
        "decoder": DECODER,
        "prior": {
            "encoder": gaussian(np.zeros((D, 1)), np.zeros(1), 0.3),
            "decoder": gaussian(A.T, b, np.log(S)),
        },
    }
    x = np.repeat(X[:1], 4000, axis=0)
    result = evaluation.log_likelihood(
        Subject(make_model(prior), params, x), KEY, num_samples=6, batch_size=2000, proposal=Refined()
    )  # fmt: skip
    W = ORACLE.weight
    covariance = W @ (A @ A.T + np.diag(S)) @ W.T + ORACLE.sigma**2 * np.eye(N)
    exact = scipy.stats.multivariate_normal(W @ b + ORACLE.bias, covariance).logpdf(X[0])
    ratio = np.exp(result.log_prob - exact)
    assert within_confidence(ratio, 1.0)
    assert np.std(ratio) / np.sqrt(4000) < 0.03


def bits(seed: int) -> tuple[VAE, dict, np.ndarray, np.ndarray]:
    """A nonlinear decoder with one latent coordinate, its parameters, data, and log p(x) by quadrature."""
    rng = np.random.default_rng(seed)
    first, last = 2 * rng.normal(size=(1, 5)), 2 * rng.normal(size=(5, 6))
    model = VAE(
        encoder=ConditionalGaussian(MLP(()), 1),
        decoder=BernoulliDecoder(MLP((5,), activation=jnp.tanh), shape=(6,)),
        prior=StandardNormal(1),
    )
    decoder = {"trunk": dense(first, np.zeros(5)), **dense(last, np.full(6, -0.5))}
    params = {"encoder": gaussian(np.zeros((6, 1)), np.full(1, 0.7), -0.5), "decoder": decoder}
    x = rng.integers(0, 2, size=(4, 6)).astype(np.float32)
    z = ((np.arange(4000) + 0.5) / 250 - 8)[:, None, None]
    logits = np.tanh(z @ first) @ last - 0.5
    log_joint = np.sum(x * logits - np.logaddexp(0.0, logits), axis=-1)
    log_joint += scipy.stats.norm.logpdf(z)[..., 0]
    return model, params, x, logsumexp(log_joint, axis=0) - np.log(250)


def test_refined_weights_are_unbiased_and_tighter_for_a_nonlinear_decoder():
    model, params, x, exact = bits(0)
    repeated = np.repeat(x, 1000, axis=0)
    subject = Subject(model, params, repeated)
    gaps = {}
    for proposal in (Amortised(), Refined()):
        result = evaluation.log_likelihood(
            subject, KEY, num_samples=4, batch_size=4000, proposal=proposal
        )
        gaps[proposal] = (result.log_prob - np.repeat(exact, 1000)).reshape(4, 1000).T
        assert np.all(within_confidence(np.exp(gaps[proposal]), 1.0))
    loose, tight = (np.mean(gap, axis=0) for gap in gaps.values())
    assert np.all(tight > loose)
    assert np.mean(tight) > 0.2 * np.mean(loose)  # both are below 0


def test_hierarchies_are_refined_jointly_over_their_levels():
    """z_0 ~ N(0, I), z_1|z_0 ~ N(Az_0 + b, S), x|z_1 ~ N(Wz_1 + c, σ²I), and q that ignores x."""
    rng = np.random.default_rng(2)
    A, b, S = rng.normal(size=(D, 2)), rng.normal(size=D), np.array([0.3, 0.6, 1.0])
    model = TwoLevel(
        top_encoder=ConditionalGaussian(MLP(()), 2),
        bottom_encoder=ConditionalGaussian(MLP(()), D),
        between=ConditionalGaussian(MLP(()), D),
        decoder=GaussianDecoder(MLP(()), shape=(N,), scale=ORACLE.sigma),
        prior=StandardNormal(2),
    )
    params = {
        "top_encoder": gaussian(np.zeros((N, 2)), np.zeros(2), -1.0),
        "bottom_encoder": gaussian(np.zeros((N, D)), np.zeros(D), -1.0),
        "between": gaussian(A.T, b, np.log(S)),
        "decoder": DECODER,
    }
    W = ORACLE.weight
    covariance = W @ (A @ A.T + np.diag(S)) @ W.T + ORACLE.sigma**2 * np.eye(N)
    exact = scipy.stats.multivariate_normal(W @ b + ORACLE.bias, covariance).logpdf(X)
    result = evaluation.log_likelihood(
        Subject(model, params, X),
        KEY,
        num_samples=50,
        proposal=Refined(num_newton_steps=3, defensive=0.0),
    )
    np.testing.assert_allclose(result.log_prob, exact, atol=5e-3)


def test_one_sample_comes_from_the_fit():
    result = evaluation.log_likelihood(
        linear(poor_encoder(0.2, -1.0)), KEY, num_samples=1, proposal=Refined()
    )
    np.testing.assert_allclose(result.log_prob, ORACLE.log_prob(X), atol=2e-3)


def test_errors_are_sentences():
    with pytest.raises(ValueError, match=r"defensive must lie in \[0, 1\), got 1"):
        Refined(defensive=1.0)
    with pytest.raises(ValueError, match="num_newton_steps must be at least 1, got 0"):
        Refined(num_newton_steps=0)
    model = VAE(
        ConditionalGaussian(MLP(()), 600),
        GaussianDecoder(MLP(()), shape=(N,)),
        StandardNormal(600),
    )
    with pytest.raises(
        UndefinedError, match="at most 512 latent coordinates, and the model has 600"
    ):
        evaluation.log_likelihood(Subject(model, {}, X), KEY, proposal=Refined())
