"""What is measured level by level, on ConvDRAW: brute force over inputs, and the reasons why not."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm

from vaelab import evaluation
from vaelab.checks import UndefinedError
from vaelab.evaluation import Subject
from vaelab.likelihoods import BernoulliDecoder
from vaelab.models import ConvDRAW
from vaelab.networks import Identity
from vaelab.types import Examples

SHAPE, N, KEY = (2, 2, 1), 5, jax.random.key(0)
X = np.random.default_rng(0).integers(0, 2, (N, *SHAPE)).astype(np.float32)


def convdraw(**fields):
    return ConvDRAW(
        BernoulliDecoder(Identity(), SHAPE), num_steps=2, hidden=3, latent_channels=2,
        canvas_channels=2, downsample=2, **fields,
    )  # fmt: skip


MODEL = convdraw()  # two levels of two coordinates


@functools.cache
def make_params(model):
    context = X if model.conditional else None
    shapes = jax.eval_shape(lambda: model.init(KEY, X, KEY, context=context))["params"]
    rng = np.random.default_rng(1)
    draw = lambda leaf: jnp.asarray(0.7 * rng.normal(size=leaf.shape), leaf.dtype)  # noqa: E731
    return jax.tree.map(draw, shapes)


def subject(x=X):
    return Subject(MODEL, make_params(MODEL), x)


def first_level():
    """Mean and scale of q(z_1|x_n) [N, 2] in float64, and of p(z_1) [2]."""
    grid = np.linspace(-60, 60, 24_001)
    points = np.zeros((2, len(grid), 2), np.float32)
    points[[0, 1], :, [0, 1]] = grid

    @jax.jit
    def densities(params, points):
        bound = MODEL.at(params)
        posterior = bound.level_posterior(bound.encode(X))
        return posterior.mean(), posterior.stddev(), bound.level_log_prior(points)

    q_mean, q_scale, log_p = (
        np.asarray(v, np.float64) for v in densities(make_params(MODEL), points)
    )
    weight = np.exp(log_p - logsumexp(log_p, axis=1, keepdims=True))
    mean = weight @ grid
    scale = np.sqrt(weight @ grid**2 - mean**2)
    return q_mean, q_scale, mean, scale


def test_surgery_of_the_first_level_equals_a_grid():
    mean, scale, prior_mean, prior_scale = first_level()
    aggregated = evaluation.aggregated_posterior(subject())
    np.testing.assert_allclose(aggregated.variables["params"]["mean"], mean, rtol=1e-5, atol=1e-6)
    result = evaluation.elbo_surgery(aggregated, KEY, num_points=20_000, batch_size=5000)
    kl = np.log(prior_scale / scale) - 0.5
    kl += (scale**2 + (mean - prior_mean) ** 2) / (2 * prior_scale**2)
    assert abs(result.rate.mean - np.mean(np.sum(kl, axis=1))) < 4 * result.rate.standard_error
    axes = [
        np.linspace(np.min(m - 7 * s), np.max(m + 7 * s), 500)
        for m, s in zip(mean.T, scale.T, strict=True)
    ]
    z = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    log_q = logsumexp(norm.logpdf(z[..., None, :], mean, scale).sum(-1), axis=-1) - np.log(N)
    log_p = norm.logpdf(z, prior_mean, prior_scale).sum(-1)
    area = np.prod([axis[1] - axis[0] for axis in axes])
    exact = np.sum(np.exp(log_q) * (log_q - log_p)) * area
    marginal = result.marginal_kl
    assert abs(marginal.mean - exact) < 4 * marginal.standard_error
    by_samples = evaluation.marginal_kl(subject(), KEY, num_points=5000, batch_size=3)
    assert abs(by_samples.mean - exact) < 4 * by_samples.standard_error
    holes = evaluation.holes(aggregated, KEY, num_samples=4000, batch_size=2000)
    difference = abs(holes.aggregated_to_prior.mean - exact)
    assert difference < 4 * holes.aggregated_to_prior.standard_error


def test_marginal_kl_of_all_levels_jointly_equals_brute_force():
    result = evaluation.marginal_kl(subject(), KEY, level=None, num_points=400, batch_size=3)

    @jax.jit
    def densities(params, key):
        bound = MODEL.at(params)
        encoding = bound.encode(X)
        drawn = bound.terms(encoding, X, key, 400).latents
        latents = tuple(z.reshape(-1, z.shape[-1]) for z in drawn)
        points = tuple(z[:, None] for z in latents)
        points = tuple(jnp.broadcast_to(z, (len(z), N, z.shape[-1])) for z in points)
        return bound.log_posterior(encoding, points), bound.log_prior(latents)

    log_q, log_p = (np.asarray(v, np.float64) for v in densities(make_params(MODEL), KEY))
    values = logsumexp(log_q, axis=1) - np.log(N) - log_p
    error = np.hypot(result.standard_error, np.std(values) / np.sqrt(len(values)))
    assert abs(result.mean - np.mean(values)) < 4 * error
    first = evaluation.marginal_kl(subject(), KEY, num_points=400)
    assert result.mean > first.mean - 4 * error  # a joint KL is at least a marginal one


@pytest.mark.slow  # compiles a long annealing
def test_annealing_over_all_levels_agrees_with_the_mean_over_the_prior():
    """log E_p(z|context) p(x|z), of 100,000 samples for each x; each example has its own context."""
    model = convdraw(context_channels=1)
    context = np.random.default_rng(3).uniform(size=X.shape).astype(np.float32)
    params = make_params(model)

    @jax.jit
    def likelihoods(x, context, key):
        bound, context = model.at(params), context[None]
        return bound.decode(bound.sample_latents(key, 100_000, context), context).log_prob(x)

    pairs = zip(X, context, strict=True)
    log_prob = np.stack([likelihoods(x, c, KEY) for x, c in pairs]).astype(np.float64)
    expected = logsumexp(log_prob, axis=1) - np.log(100_000)
    annealed = evaluation.annealed_importance_sampling(
        Subject(model, params, Examples(X, context=context)), KEY,
        num_chains=300, num_temperatures=30, num_leapfrogs=4, batch_size=5,
    )  # fmt: skip
    np.testing.assert_allclose(annealed.log_prob, expected, atol=0.1)


def test_what_has_no_meaning_says_why():
    with pytest.raises(UndefinedError, match="level 1 of ConvDRAW has no density of its own: each"):
        evaluation.aggregated_posterior(subject(), 1)
    with pytest.raises(UndefinedError, match="level 1 of ConvDRAW has no density of its own: each"):
        evaluation.marginal_kl(subject(), KEY, level=1)
    with pytest.raises(ValueError, match=r"level must be 0 \(top\) to 1, got 2"):
        evaluation.aggregated_posterior(subject(), 2)
    model = convdraw(context_channels=1)
    conditional = Subject(model, make_params(model), Examples(X, context=X))
    with pytest.raises(UndefinedError, match="its prior depends on the context"):
        evaluation.aggregated_posterior(conditional)
    with pytest.raises(UndefinedError, match="a conditional model has a prior for each context"):
        evaluation.marginal_kl(conditional, KEY)
