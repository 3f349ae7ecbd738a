"""Exponential families against scipy, quadrature, enumeration and distrax."""

from __future__ import annotations

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from oracles import critical_value
from scipy.special import expit, log_expit, log_softmax

from vaelab.natural import Bernoulli, Gaussian

RNG = np.random.default_rng(0)
MEANS, LOG_VARIANCES = RNG.normal(size=(2, 5)), RNG.normal(size=(2, 5))
LOGITS = np.array([[-30.0, -2.0, 0.0, 0.7, 9.0], [1.0, -2.5, 3.0, 0.0, -40.0]])
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(40)


def gaussians():
    return [Gaussian(*map(jnp.asarray, pair)) for pair in zip(MEANS, LOG_VARIANCES, strict=True)]


def bernoullis():
    return [Bernoulli(jnp.asarray(logits)) for logits in LOGITS]


@pytest.mark.parametrize("make", [gaussians, bernoullis])
def test_natural_parameters_add_and_a_product_of_densities_is_the_sum_s(make):
    """log a(z) + log b(z) − log (a + b)(z) is the same for every z: the log-normaliser."""
    with jax.enable_x64(True):
        a, b = make()
        both = a + b
        for x, y, z in zip(*(f.natural_parameters for f in (a, b, both)), strict=True):
            np.testing.assert_allclose(x + y, z, rtol=1e-13, atol=1e-13)
        values = np.array([0.0, 1.0]) if make is bernoullis else np.linspace(-3.0, 3.0, 9)
        z = jnp.asarray(values)[:, None]
        constant = a.log_prob(z) + b.log_prob(z) - both.log_prob(z)
        np.testing.assert_allclose(constant - constant[:1], 0.0, atol=1e-12)


def test_gaussian_log_prob_and_moments_equal_scipy():
    a, _ = gaussians()
    z = RNG.normal(size=(7, 5))
    expected = scipy.stats.norm.logpdf(z, MEANS[0], np.exp(0.5 * LOG_VARIANCES[0]))
    np.testing.assert_allclose(a.log_prob(jnp.asarray(z)), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(a.variance, np.exp(LOG_VARIANCES[0]), rtol=1e-6)
    np.testing.assert_allclose(a.precision, np.exp(-LOG_VARIANCES[0]), rtol=1e-6)


def test_gaussian_kl_equals_quadrature_and_distrax():
    with jax.enable_x64(True):
        a, b = gaussians()
        z = a.mean + jnp.sqrt(a.variance) * NODES[:, None]
        integral = WEIGHTS @ np.asarray(a.log_prob(z) - b.log_prob(z)) / WEIGHTS.sum()
        theirs = [distrax.Normal(f.mean, jnp.sqrt(f.variance)) for f in (a, b)]
        np.testing.assert_allclose(a.kl(b), integral, rtol=1e-12)
        np.testing.assert_allclose(a.kl(b), theirs[0].kl_divergence(theirs[1]), rtol=1e-12)


@pytest.mark.parametrize("log_variance", [-200.0, -3.0, 0.0, 200.0, np.inf])
def test_a_factor_without_information_is_neutral(log_variance):
    a = Gaussian(jnp.float32(1.5), jnp.float32(log_variance))
    nothing = Gaussian(jnp.float32(0.0), jnp.float32(np.inf))
    for both in (a + nothing, nothing + a):
        assert both.log_variance == np.float32(log_variance)
        if np.isfinite(log_variance):
            assert both.mean == np.float32(1.5)
        assert np.isfinite(both.mean)
    gradient = jax.grad(lambda a: (a + nothing).mean + (nothing + a).mean)(a)
    assert np.all(np.isfinite([gradient.mean, gradient.log_variance]))


def test_sums_of_gaussians_keep_their_digits_where_precisions_overflow():
    """Weights are softmax(−log σ²), log σ² = −logsumexp(−log σ²), in float64."""
    log_variances = np.array([[-200.0, -200.5, 300.0, -1000.0], [-199.0, 4.0, 301.0, 1000.0]])
    means = np.array([[1.0, -2.0, 3.0, 4.0], [5.0, 6.0, -7.0, 8.0]])
    pairs = zip(means, log_variances, strict=True)
    a, b = (Gaussian(*(jnp.asarray(p, jnp.float32) for p in pair)) for pair in pairs)
    weights = np.exp(log_softmax(-log_variances, axis=0))
    both = jax.jit(lambda a, b: a + b)(a, b)
    np.testing.assert_allclose(both.mean, (weights * means).sum(0), rtol=1e-5)
    expected = -np.logaddexp(*-log_variances)
    np.testing.assert_allclose(both.log_variance, expected, rtol=1e-6)


def test_the_gradient_of_a_sum_equals_finite_differences_also_of_equal_factors():
    with jax.enable_x64(True):
        x = jnp.array([0.3, -0.7, 1.1, -0.7])

        def merged(x):
            both = Gaussian(x[0], x[1]) + Gaussian(x[2], x[3])
            return jnp.stack([both.mean, both.log_variance])

        ours = jax.jacrev(merged)(x)
        steps = 1e-6 * np.eye(4)
        by_difference = np.stack([merged(x + s) - merged(x - s) for s in steps], -1) / 2e-6
    np.testing.assert_allclose(ours, by_difference, atol=1e-8)


def test_bernoulli_kl_equals_enumeration():
    for x64, rtol, atol in ((False, 1e-5, 1e-6), (True, 1e-12, 1e-14)):
        with jax.enable_x64(x64):
            a, b = bernoullis()
            expected = expit(LOGITS[0]) * (log_expit(LOGITS[0]) - log_expit(LOGITS[1]))
            expected += expit(-LOGITS[0]) * (log_expit(-LOGITS[0]) - log_expit(-LOGITS[1]))
            np.testing.assert_allclose(a.kl(b), expected, rtol=rtol, atol=atol)
            formula = jax.nn.sigmoid(a.logits) * (a.logits - b.logits)
            formula += jax.nn.softplus(b.logits) - jax.nn.softplus(a.logits)
            np.testing.assert_allclose(a.kl(b), formula, rtol=rtol, atol=10 * atol)


@pytest.mark.parametrize(
    ("logits", "other", "kl"),
    [
        (1e8, 3.0, -log_expit(3.0)),
        (-1e30, 3.0, -log_expit(-3.0)),
        (np.inf, 3.0, -log_expit(3.0)),
        (-np.inf, 0.0, np.log(2.0)),
        (np.inf, np.inf, 0.0),
        (-np.inf, -np.inf, 0.0),
        (0.0, np.inf, np.inf),
        (np.inf, -np.inf, np.inf),
        (0.0, 1e4, 5e3 - np.log(2.0)),
    ],
)
def test_bernoulli_kl_of_nearly_and_quite_certain_bits(logits, other, kl):
    ours = lambda q, p: Bernoulli(q).kl(Bernoulli(p))  # noqa: E731
    q, p = jnp.float32(logits), jnp.float32(other)
    np.testing.assert_allclose(ours(q, p), kl, rtol=1e-6)
    if np.isfinite(kl):
        assert np.all(np.isfinite(jax.grad(ours, argnums=(0, 1))(q, p)))


def test_the_gradient_of_a_certain_bit_s_log_prob_is_finite():
    """∂/∂z = η for finite logits; 0 where the bit is certain, where it was 0·∞."""
    logits = np.array([-np.inf, -1e30, -2.0, 0.0, 3.0, 1e30, np.inf], np.float32)
    for bit in (0.0, 1.0):
        total = lambda z, logits: jnp.sum(Bernoulli(logits).log_prob(z))  # noqa: E731
        by_z, by_logits = jax.grad(total, argnums=(0, 1))(jnp.full(7, bit), jnp.asarray(logits))
        np.testing.assert_array_equal(by_z, [0.0, *logits[1:-1], 0.0])
        inner = bit - expit(logits[1:-1])
        np.testing.assert_allclose(by_logits, [0.0, *inner, 0.0], rtol=1e-6)


def test_the_gradient_of_the_bernoulli_kl_is_its_closed_form():
    """∂/∂q = σ'(q) (q − p), ∂/∂p = σ(p) − σ(q)."""
    with jax.enable_x64(True):
        q, p = map(jnp.asarray, LOGITS)
        total = lambda q, p: jnp.sum(Bernoulli(q).kl(Bernoulli(p)))  # noqa: E731
        by_q, by_p = jax.grad(total, argnums=(0, 1))(q, p)
    q, p = LOGITS
    np.testing.assert_allclose(by_q, expit(q) * expit(-q) * (q - p), atol=1e-12)
    np.testing.assert_allclose(by_p, expit(p) - expit(q), atol=1e-12)


@pytest.mark.parametrize("make", [gaussians, bernoullis])
def test_samples_have_the_moments_and_log_ratios_the_mean_kl(make):
    a, b = make()
    if make is bernoullis:
        a, b = Bernoulli(jnp.clip(a.logits, -3, 3)), Bernoulli(jnp.clip(b.logits, -3, 3))
    num = 20_000
    z, ratio = a.sample_and_log_ratio(jax.random.key(0), b, (num,))
    np.testing.assert_array_equal(z, a.sample(jax.random.key(0), (num,)))
    assert z.shape == ratio.shape == (num, 5)
    np.testing.assert_allclose(ratio, a.log_prob(z) - b.log_prob(z), rtol=1e-4, atol=1e-4)
    limit = critical_value(20)
    for draws, expected in ((z, a.mean), (ratio, a.kl(b)), ((z - a.mean) ** 2, a.variance)):
        error = np.std(draws, axis=0) / np.sqrt(num)
        assert np.all(np.abs(np.mean(draws, axis=0) - expected) <= limit * error + 1e-6)


def test_gradients_of_samples_are_reparameterised_or_straight_through():
    key = jax.random.key(1)
    a, _ = gaussians()
    z = a.sample(key)
    gradient = jax.grad(lambda a: jnp.sum(a.sample(key)))(a)
    np.testing.assert_allclose(gradient.mean, 1.0)
    np.testing.assert_allclose(gradient.log_variance, 0.5 * (z - a.mean), rtol=1e-5, atol=1e-6)
    bits, _ = bernoullis()
    z = bits.sample(key, (100,))
    assert set(np.unique(z)) == {0.0, 1.0}
    with jax.enable_x64(True):
        bits, _ = bernoullis()
        gradient = jax.grad(lambda bits: jnp.sum(bits.sample(key)))(bits)
        np.testing.assert_allclose(gradient.logits, expit(LOGITS[0]) * expit(-LOGITS[0]), rtol=1e-9)


def test_a_log_ratio_keeps_its_digits_far_from_zero():
    """From z alone, whose rounding is as large as σ here, it would be wrong in the first digit."""
    q, p = (
        Gaussian(jnp.float32(1e4), jnp.float32(-14.0)),
        Gaussian(jnp.float32(0.0), jnp.float32(0.0)),
    )
    z, ratio = q.sample_and_log_ratio(jax.random.key(0), p, (1000,))
    noise = np.asarray(jax.random.normal(jax.random.key(0), (1000,)), np.float64)
    exact = 1e4 + np.exp(-7.0) * noise
    expected = 0.5 * (exact**2 - noise**2 + 14.0)
    np.testing.assert_allclose(ratio, expected, rtol=1e-6)
    assert np.max(np.abs(q.log_prob(z) + 0.5 * (noise**2 - 14.0 + np.log(2 * np.pi)))) > 0.1


@pytest.mark.parametrize("make", [gaussians, bernoullis])
def test_families_pass_jit_vmap_and_scan(make):
    a, b = make()
    mapped = jax.jit(jax.vmap(lambda a, b: (a + b).kl(b)))(a, b)
    np.testing.assert_allclose(mapped, (a + b).kl(b), rtol=1e-5, atol=1e-7)
    last, _ = jax.lax.scan(lambda carry, _: (carry + b, None), a, length=3)
    expected = a + b + b + b
    for x, y in zip(last.natural_parameters, expected.natural_parameters, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


def test_the_ratio_of_narrow_gaussians_far_from_zero_keeps_its_digits():
    """Against float64, where both are narrow: the rounding of z must not count."""
    for mean, log_variance in ((10.0, -9.0), (10.0, -14.0), (1000.0, -20.0)):
        p = Gaussian(jnp.float32(mean), jnp.float32(log_variance))
        q = Gaussian(jnp.float32(mean), jnp.float32(log_variance + 0.1))
        key = jax.random.key(0)
        _, ratio = p.sample_and_log_ratio(key, q, (1000,))
        noise = np.asarray(jax.random.normal(key, (1000,)), np.float64)
        shift = np.float32(log_variance + 0.1) - np.float32(log_variance)
        exact = 0.5 * (noise**2 * np.exp(-np.float64(shift)) - noise**2 + np.float64(shift))
        np.testing.assert_allclose(ratio, exact, atol=2e-6)
