"""The aggregated posterior, and priors compared with it: brute force and grid integrals in float64."""

from __future__ import annotations

import itertools

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from oracles import critical_value, within_confidence
from scipy.special import logsumexp
from scipy.stats import norm

from vaelab import evaluation
from vaelab.evaluation import prior_holes, surgery
from vaelab.likelihoods import GaussianDecoder
from vaelab.models import VAE
from vaelab.networks import MLP, ConditionalGaussian
from vaelab.priors import GaussianMixture, HierarchicalPrior, StandardNormal
from vaelab.priors.aggregated import AggregatedPosterior

KEY = jax.random.key(0)
MEAN = np.array([[1.0, 0.5], [-1.5, 0.2], [0.3, -1.0], [2.0, 1.2], [1.1, 0.6]])
SCALE = np.array([[0.3, 0.5], [0.6, 0.25], [1.0, 0.4], [0.3, 0.7], [0.5, 0.5]])


def inputs(mean=MEAN, scale=SCALE) -> np.ndarray:
    """x [N, 2D] for which the encoder below has these means and scales."""
    return np.concatenate([mean, 2 * np.log(scale)], axis=1).astype(np.float32)


def make_model(prior) -> VAE:
    dim = prior.latent_dim
    return VAE(
        encoder=ConditionalGaussian(MLP(()), dim),
        decoder=GaussianDecoder(MLP(()), shape=(2 * dim,)),
        prior=prior,
    )


def make_params(dim=2, **prior) -> dict:
    encoder = {"Dense_0": {"kernel": jnp.eye(2 * dim), "bias": jnp.zeros(2 * dim)}}
    return {"encoder": encoder} | ({"prior": prior} if prior else {})


STANDARD = make_model(StandardNormal(2))


def component_log_probs(z: np.ndarray, mean=MEAN, scale=SCALE) -> np.ndarray:
    """log q(z_d|x_n) in float64. [P, D] -> [P, N, D]"""
    return norm.logpdf(np.asarray(z, np.float64)[:, None], mean, scale)


def log_mean_exp(values: np.ndarray, axis: int) -> np.ndarray:
    return logsumexp(values, axis=axis) - np.log(values.shape[axis])


def random_posterior(dim, num_inputs, chunk_size):
    """Inputs far from the origin with small variances, as at the start of training."""
    rng = np.random.default_rng(0)
    mean = (rng.normal(size=(num_inputs, dim)) * 3 + 2).astype(np.float32)
    scale = np.exp(rng.uniform(-3.0, 0.5, size=(num_inputs, dim))).astype(np.float32)
    model = make_model(StandardNormal(dim))
    aggregated = evaluation.aggregated_posterior(
        evaluation.Subject(model, make_params(dim), inputs(mean, scale)),
        batch_size=300,
        chunk_size=chunk_size,
    )
    prior, variables = aggregated.density, aggregated.variables
    z = np.concatenate([mean[:20] + scale[:20] * rng.normal(size=(20, dim)), 9 * mean[:3]])
    return prior, variables, z.astype(np.float32), mean, scale


@pytest.mark.parametrize(("dim", "num_inputs", "chunk_size"), [(2, 700, 100), (40, 701, 256)])
def test_log_prob_equals_brute_force(dim, num_inputs, chunk_size):
    prior, variables, z, mean, scale = random_posterior(dim, num_inputs, chunk_size)
    each = component_log_probs(z, mean, scale)
    log_prob = prior.apply(variables, z, method="log_prob")
    np.testing.assert_allclose(log_prob, log_mean_exp(each.sum(-1), 1), rtol=1e-5, atol=2e-3)
    coordinates = prior.apply(variables, z, method="coordinate_log_prob")
    np.testing.assert_allclose(coordinates, log_mean_exp(each, 1), rtol=2e-5, atol=1e-3)
    several = prior.apply(variables, z.reshape(1, -1, 1, dim), method="log_prob")
    np.testing.assert_allclose(several, log_prob.reshape(1, -1, 1), rtol=1e-6)


def test_log_prob_of_the_first_inputs_equals_brute_force():
    prior, variables, z, mean, scale = random_posterior(2, 700, 100)
    counts = np.resize([1, 100, 101, 699, 700], len(z))
    log_prob = jax.jit(lambda z, n: prior.apply(variables, z, n, method="log_prob_of_first"))
    each = component_log_probs(z, mean, scale).sum(-1)
    expected = [log_mean_exp(row[:n], 0) for row, n in zip(each, counts, strict=True)]
    np.testing.assert_allclose(log_prob(z, counts), expected, rtol=1e-5, atol=1e-4)


def aggregated(mean=MEAN, scale=SCALE):
    variables = {"mean": jnp.asarray(mean, jnp.float32), "scale": jnp.asarray(scale, jnp.float32)}
    return AggregatedPosterior(2, chunk_size=3), {"params": variables}


def test_samples_have_the_distribution_of_the_mixture():
    prior, variables = aggregated()
    z = np.asarray(prior.apply(variables, KEY, 20_000, method="sample"), np.float64)
    for turn in ([0.8, -0.6], [0.6, 0.8]):
        scale = np.sqrt(SCALE**2 @ np.square(turn))
        cdf = lambda s, m=MEAN @ turn, scale=scale: norm.cdf(s[:, None], m, scale).mean(-1)  # noqa: E731
        assert scipy.stats.kstest(z @ turn, cdf).pvalue > 1e-3


def test_the_aggregated_posterior_keeps_the_contract_of_priors():
    prior, variables = aggregated()
    log_prob = lambda z: prior.apply(variables, z, method="log_prob")  # noqa: E731
    for batch in ((), (5,), (2, 5)):
        assert log_prob(jnp.ones((*batch, 2))).shape == batch
    axis = np.linspace(-7, 8, 400)
    z = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    mass = np.exp(np.asarray(log_prob(z), np.float64)) * (axis[1] - axis[0]) ** 2
    assert np.sum(mass) == pytest.approx(1.0, abs=1e-3)
    drawn, auxiliary = prior.apply(variables, KEY, 20_000, method="sample_joint")
    assert auxiliary == ()
    joint = prior.apply(variables, drawn[:7], (), method="joint_log_prob")
    np.testing.assert_array_equal(joint, log_prob(drawn[:7]))
    assert np.all(within_confidence(drawn, mass @ z))
    assert np.all(within_confidence(drawn**2, mass @ z**2))
    far = 50.0 * jnp.asarray(z[::20_000] / np.linalg.norm(z[::20_000], axis=-1, keepdims=True))
    assert np.all(np.isfinite(jax.grad(lambda z: jnp.sum(log_prob(z)))(far)))


def test_the_aggregated_posterior_cannot_be_trained():
    prior, variables = aggregated()
    sentence = (
        "the aggregated posterior is a reference for evaluation and cannot be trained: choose "
        "another prior."
    )
    with pytest.raises(ValueError, match=sentence):
        prior.init(KEY, jnp.zeros(2), method="log_prob")
    with pytest.raises(ValueError, match=sentence):
        make_model(prior).init(KEY, inputs(), KEY)
    with pytest.raises(ValueError, match=r"make them with evaluation\.aggregated_posterior"):
        prior.apply({}, jnp.zeros(2), method="log_prob")
    with pytest.raises(ValueError, match="chunk_size must be at least 1, got 0"):
        AggregatedPosterior(2, chunk_size=0)
    # As the prior of a trained model it makes the rate the mutual information.
    model = make_model(prior)
    decoder = {"Dense_0": {"kernel": jnp.ones((2, 4)), "bias": jnp.zeros(4)}}
    params = make_params() | {"decoder": decoder}
    terms = model.apply({"params": params | {"prior": variables["params"]}}, inputs(), KEY, 4)
    z = np.asarray(terms.latents[0], np.float64)
    own = norm.logpdf(z, MEAN, SCALE).sum(-1)
    q = log_mean_exp(component_log_probs(z.reshape(-1, 2)).sum(-1), 1).reshape(4, 5)
    np.testing.assert_allclose(terms.rate[0], own - q, atol=1e-4)


EDGE = np.linspace(-7.0, 7.0, 401)
MIDDLE = (EDGE[1:] + EDGE[:-1]) / 2
GRID = np.stack(np.meshgrid(MIDDLE, MIDDLE, indexing="ij"), axis=-1).reshape(-1, 2)
CELL = (EDGE[1] - EDGE[0]) ** 2
EACH = component_log_probs(GRID)  # [cells, N, D]
LOG_Q = log_mean_exp(EACH.sum(-1), 1)
LOG_P = norm.logpdf(GRID).sum(-1)


def integral(density: np.ndarray, values: np.ndarray) -> float:
    return float(np.sum(density * values) * CELL)


def assert_close(estimate, expected, *, num_tests, error=0.05):
    z = (estimate.mean - expected) / estimate.standard_error
    assert abs(z) < critical_value(num_tests)
    assert estimate.standard_error < error  # the interval is narrow


def test_surgery_equals_grid_integrals():
    result = evaluation.elbo_surgery(
        evaluation.aggregated_posterior(evaluation.Subject(STANDARD, make_params(), inputs())),
        KEY,
        num_points=3001,
        batch_size=1000,
    )
    q = np.exp(LOG_Q)
    entropy = np.mean(np.sum(norm.entropy(scale=SCALE), axis=1))
    product = log_mean_exp(EACH, 1).sum(-1)
    expected = {
        "rate": -entropy - integral(q, LOG_P),
        "cross_entropy": -integral(q, LOG_P),
        "conditional_entropy": entropy,
        "mutual_information": -integral(q, LOG_Q) - entropy,
        "marginal_kl": integral(q, LOG_Q - LOG_P),
        "total_correlation": integral(q, LOG_Q - product),
        "dimension_wise_kl": integral(q, product - LOG_P),
    }
    for name, value in expected.items():
        assert_close(getattr(result, name), value, num_tests=len(expected))
    assert expected["total_correlation"] > 0.1  # large enough that its absence would show
    assert (result.num_points, result.num_inputs) == (3001, 5)


def mean_of(result, *names):
    return [getattr(result, name).mean for name in names]


@pytest.mark.parametrize("spread", [1.0, 100.0])
def test_the_parts_add_up_and_information_is_at_most_log_n(spread):
    result = evaluation.elbo_surgery(
        evaluation.aggregated_posterior(
            evaluation.Subject(STANDARD, make_params(), inputs(spread * MEAN))
        ),
        KEY,
        num_points=500,
        batch_size=1000,
    )
    rate, cross, entropy = mean_of(result, "rate", "cross_entropy", "conditional_entropy")
    information, kl = mean_of(result, "mutual_information", "marginal_kl")
    correlation, dimension_wise = mean_of(result, "total_correlation", "dimension_wise_kl")
    np.testing.assert_allclose(rate, cross - entropy, rtol=1e-12)
    np.testing.assert_allclose(rate, information + kl, rtol=1e-12)
    np.testing.assert_allclose(kl, correlation + dimension_wise, rtol=1e-10)
    assert information <= np.log(5) + 1e-5
    if spread > 1:  # inputs that do not overlap: each point tells its input
        np.testing.assert_allclose(information, np.log(5), rtol=1e-5)
        assert result.mutual_information.standard_error < 1e-6


def test_subsampled_marginal_kls_have_the_known_bias():
    """n inputs without overlap at the same distance: KL(q_n ‖ p) = KL_1 − log n."""
    angle = np.arange(5) * 2 * np.pi / 5
    mean, scale = 6 * np.stack([np.cos(angle), np.sin(angle)], axis=1), np.full((5, 2), 0.1)
    shown = []

    def progress(batches):
        shown.extend(batches)
        return batches

    result = evaluation.subsampled_marginal_kl(
        evaluation.aggregated_posterior(
            evaluation.Subject(STANDARD, make_params(), inputs(mean, scale))
        ),
        KEY,
        sizes=[1, 2, 5],
        num_points=1900,
        batch_size=1000,
        progress=progress,
    )
    of_one = np.sum(0.5 * (mean[0] ** 2 + scale[0] ** 2 - 1) - np.log(scale[0]))
    assert list(result) == [1, 2, 5]
    for size, estimate in result.items():
        assert_close(estimate, of_one - np.log(size), num_tests=3)
    assert shown == list(range(6))  # one loop over all sizes


def test_a_subset_consists_of_inputs():
    result = evaluation.subsampled_marginal_kl(
        evaluation.aggregated_posterior(evaluation.Subject(STANDARD, make_params(), inputs())),
        KEY,
        sizes=[2],
        num_points=1900,
        batch_size=1000,
    )
    possible = []
    for pair in itertools.combinations(range(5), 2):
        log_q = log_mean_exp(EACH[:, pair].sum(-1), 1)
        possible.append(integral(np.exp(log_q), log_q - LOG_P))
    z = np.abs(result[2].mean - np.array(possible)) / result[2].standard_error
    assert np.min(z) < 3 < np.median(z)


def test_holes_equal_grid_integrals():
    result = evaluation.holes(
        evaluation.aggregated_posterior(evaluation.Subject(STANDARD, make_params(), inputs())),
        KEY,
        num_samples=4000,
        batch_size=1000,
    )
    p, q = np.exp(LOG_P), np.exp(LOG_Q)
    order = np.argsort(LOG_Q)
    level = LOG_Q[order][np.searchsorted(np.cumsum(q[order]) * CELL, 0.01)]
    mass = integral(p, level > LOG_Q)
    assert_close(result.prior_to_aggregated, integral(p, LOG_P - LOG_Q), num_tests=3, error=0.1)
    assert_close(result.aggregated_to_prior, integral(q, LOG_Q - LOG_P), num_tests=3)
    assert_close(result.hole_mass, mass, num_tests=3)
    assert 0.05 < mass < 0.95
    # Below the level is 1 % of q, within the binomial error of 4000 samples.
    assert abs(integral(q, result.level > LOG_Q) - 0.01) < 4 * np.sqrt(0.0099 / 4000)


def test_the_hole_mass_has_the_standard_error_of_repeated_draws():
    """q = N(0, 1), p = N(1, 1.2²): most of the error is that of the quantile of q."""
    rng = np.random.default_rng(0)
    of_p = scipy.stats.norm.logpdf(rng.normal(1.0, 1.2, size=(150, 500)))
    of_q = scipy.stats.norm.logpdf(rng.normal(size=(150, 500)))
    keys = jax.random.split(jax.random.key(0, impl="rbg"), 150)  # bootstraps quickly
    masses = [prior_holes._hole_mass(*draw)[0] for draw in zip(of_p, of_q, keys, strict=True)]
    deviation = np.std([mass.mean for mass in masses], ddof=1)
    binomial = np.sqrt(masses[0].mean * (1 - masses[0].mean) / 500)
    assert deviation > 1.3 * binomial
    error = np.mean([mass.standard_error for mass in masses])
    assert 0.83 * deviation < error < 1.17 * deviation  # 150 draws determine it to 6 %


def test_a_prior_that_is_the_aggregated_posterior_has_no_holes():
    model = make_model(GaussianMixture(2, num_components=5))
    prior = {"mean": MEAN, "log_variance": 2 * np.log(SCALE), "logits": np.zeros(5)}
    params = make_params(**jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), prior))
    result = evaluation.holes(
        evaluation.aggregated_posterior(evaluation.Subject(model, params, inputs())),
        KEY,
        num_samples=4000,
        batch_size=1000,
    )
    for estimate in (result.prior_to_aggregated, result.aggregated_to_prior):
        np.testing.assert_allclose(estimate, 0.0, atol=1e-5)
    assert abs(result.hole_mass.mean - 0.01) < 4 * np.sqrt(2) * result.hole_mass.standard_error


def test_an_estimated_prior_increases_the_marginal_kl():
    """p(z) = ∫ N(z; Aζ, S) N(ζ; 0, I) dζ, estimated from a single ζ: looser by KL(q(ζ) ‖ p(ζ|z))."""
    linear = lambda: ConditionalGaussian(MLP(()), 2)  # noqa: E731
    prior = HierarchicalPrior(2, num_samples=1, encoder=linear(), decoder=linear())
    A, S = np.array([[0.9, 0.3], [-0.2, 0.7]]), np.array([0.5, 0.8])

    def layer(kernel, log_variance):
        kernel = np.concatenate([kernel, np.zeros((2, 2))], axis=1)
        bias = np.concatenate([np.zeros(2), np.broadcast_to(log_variance, 2)])
        return {"Dense_0": {"kernel": jnp.asarray(kernel, "f"), "bias": jnp.asarray(bias, "f")}}

    # q(ζ|z) = p(ζ) does not depend on z.
    params = make_params(encoder=layer(np.zeros((2, 2)), 0.0), decoder=layer(A.T, np.log(S)))
    settings = dict(num_points=4000, batch_size=4000)
    result = evaluation.elbo_surgery(
        evaluation.aggregated_posterior(evaluation.Subject(make_model(prior), params, inputs())),
        KEY,
        **settings,
    )
    covariance = A @ A.T + np.diag(S)
    log_p = scipy.stats.multivariate_normal([0, 0], covariance).logpdf(GRID)
    exact = integral(np.exp(LOG_Q), LOG_Q - log_p)
    # E_ζ log N(z; Aζ, S) instead of log p(z).
    squares = GRID**2 + np.sum(A**2, axis=1)
    bound = -0.5 * np.sum(squares / S + np.log(2 * np.pi * S), axis=1)
    loose = integral(np.exp(LOG_Q), LOG_Q - bound)
    assert_close(result.marginal_kl, loose, num_tests=1, error=0.1)
    assert loose > exact + 0.3


def test_memory_does_not_depend_on_the_number_of_inputs():
    def temporary_bytes(num_inputs):
        each = jax.ShapeDtypeStruct((num_inputs, 2), jnp.float32)
        variables = {"params": {"mean": each, "scale": each}}
        index = jax.ShapeDtypeStruct((10,), jnp.int32)
        lowered = surgery._surgery_densities.lower(
            STANDARD, AggregatedPosterior(2), 0, make_params(), variables, index, KEY
        )
        return lowered.compile().memory_analysis().temp_size_in_bytes

    assert 0 < temporary_bytes(1_000_000) < 1.1 * temporary_bytes(10_000)


class LogisticEncoder(nn.Module):
    @nn.compact
    def __call__(self, x):
        return distrax.Independent(distrax.Logistic(x[:, :2], jnp.ones_like(x[:, :2])), 1)


def test_errors_are_sentences():
    settings = (STANDARD, make_params())
    aggregated = evaluation.aggregated_posterior(evaluation.Subject(*settings, inputs()))
    with pytest.raises(ValueError, match="the data are empty: there is nothing to evaluate"):
        evaluation.Subject(*settings, inputs()[:0])
    for function, count in (
        (evaluation.elbo_surgery, "num_points"),
        (evaluation.holes, "num_samples"),
    ):
        with pytest.raises(ValueError, match=f"{count} must be at least 1, got 0"):
            function(aggregated, KEY, **{count: 0})
        with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
            function(aggregated, KEY, batch_size=0)
    for size in (0, 6):
        with pytest.raises(ValueError, match=f"between 1 and the 5 inputs, got {size}"):
            evaluation.subsampled_marginal_kl(aggregated, KEY, sizes=[size])
    with pytest.raises(ValueError, match="num_points must be at least 1, got 0"):
        evaluation.subsampled_marginal_kl(aggregated, KEY, sizes=[1], num_points=0)
    with pytest.raises(ValueError, match="sizes must hold at least one number of inputs, got none"):
        evaluation.subsampled_marginal_kl(aggregated, KEY, sizes=[])
    with pytest.raises(ValueError, match=r"sizes must be a whole number, got 1\.5"):
        evaluation.subsampled_marginal_kl(aggregated, KEY, sizes=[1.5])
    with pytest.raises(ValueError, match=r"needs diagonal Gaussians: distrax\.Independent"):
        evaluation.aggregated_posterior(
            evaluation.Subject(STANDARD.clone(encoder=LogisticEncoder()), {}, inputs())
        )
