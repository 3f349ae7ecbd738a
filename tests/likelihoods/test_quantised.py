"""Binned likelihoods in float32 against quadrature in float64, and identities among them."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from scipy.special import log_expit, log_ndtr

from vaelab.likelihoods import DiscretisedLogistic, QuantisedNormal
from vaelab.likelihoods.quantised_normal import _log_ndtr

FAMILIES = {QuantisedNormal: scipy.stats.norm, DiscretisedLogistic: scipy.stats.logistic}
NODES, WEIGHTS = np.polynomial.legendre.leggauss(40)
LOCATIONS = np.float32([-50.0, -1.0, 0.0, 0.013, 0.3, 0.5, 0.9, 1.2, 50.0])
# On either side of 0.0131, below which 256 levels are wide.
SCALES = np.float32([1e-4, 1e-3, 0.01, 0.0129, 0.0133, 0.1, 1.0, 10.0, 1e5])


def log_mass(family, value, location, scale, levels):
    """log ∫ f over v's bin: by quadrature where f varies little in it, else from the tails at its ends."""
    half = 0.5 / (levels - 1)
    low = np.where(value == 0, -np.inf, (value - half - location) / scale)
    high = np.where(value == 1, np.inf, (value + half - location) / scale)
    flip = low > 0  # by symmetry, into the lower tail
    low, high = np.where(flip, -high, low), np.where(flip, -low, high)
    log_low, log_high = family.logcdf(low), family.logcdf(high)
    with np.errstate(invalid="ignore"):
        smooth = np.isfinite(high - low) & ((high - low) * np.maximum(-low, 1.0) < 20)
    # In the middle, whose ends are not both in the lower tail, nothing is lost where bins are wide.
    wide = log_high + np.log(-np.expm1(np.minimum(log_low - log_high, -1e-300)))
    low, high = np.where(smooth, low, -1.0), np.where(smooth, high, 1.0)
    points = (low + high)[..., None] / 2 + (high - low)[..., None] / 2 * NODES
    log_density = family.logpdf(points)
    largest = log_density.max(-1)
    integral = np.exp(log_density - largest[..., None]) @ WEIGHTS * (high - low) / 2
    return np.where(smooth, largest + np.log(integral), wide)


@functools.partial(jax.jit, static_argnums=(0, 4))
def evaluate(distribution, value, location, scale, levels):
    """log P and its derivatives in location and scale, elementwise."""
    total = lambda *args: jnp.sum(distribution(*args, levels).log_prob(value))  # noqa: E731
    by_location, by_scale = jax.grad(total, argnums=(0, 1))(location, scale)
    return distribution(location, scale, levels).log_prob(value), by_location, by_scale


def grid(levels):
    """Every level with every location and scale, in float32, [V, 9, 9] each."""
    values = np.arange(levels, dtype=np.float32) / np.float32(levels - 1)
    return np.meshgrid(values, LOCATIONS, SCALES, indexing="ij")


@pytest.mark.parametrize("levels", [5, 256])
@pytest.mark.parametrize("distribution", FAMILIES)
def test_values_and_gradients_in_float32_equal_quadrature(distribution, levels):
    family, arguments = FAMILIES[distribution], grid(levels)
    value, location, scale = (a.astype(np.float64) for a in arguments)
    value = np.round(value * (levels - 1)) / (levels - 1)
    log_prob, by_location, by_scale = map(np.asarray, evaluate(distribution, *arguments, levels))
    steps = np.abs(value - location) / scale
    # One rounding of v − μ, in units of s: log P moves by its slope, and the slope by one at most.
    rounding = 2e-7 * np.maximum(np.abs(location), 1.0) / scale
    slope = np.maximum(steps, 1.0) if distribution is QuantisedNormal else 1.0
    expected = log_mass(family, value, location, scale, levels)
    error = np.abs(log_prob - expected) - rounding * slope
    assert np.all(error <= 2e-5 * np.maximum(np.abs(expected), 1.0))
    for gradient, direction in ((by_location, (1, 0)), (by_scale, (0, 1))):
        step = 1e-4 * scale
        ends = (
            log_mass(
                family, value, location + side * direction[0], scale + side * direction[1], levels
            )
            for side in (step, -step)
        )
        wanted = np.subtract(*ends) / 2e-4
        allowed = rounding if direction[0] else 2 * rounding * np.maximum(steps, 1.0)
        error = np.abs(gradient * scale - wanted) - allowed
        assert np.all(error <= 1e-3 * np.maximum(np.abs(wanted), 1.0))


@pytest.mark.parametrize("distribution", FAMILIES)
def test_masses_sum_to_one_and_their_scores_to_zero(distribution):
    """Σ_v P(v) = 1 for every μ and s, so Σ_v P(v) ∂ log P(v) = 0."""
    _, _, scale = arguments = grid(256)
    log_prob, *scores = (np.asarray(a, np.float64) for a in evaluate(distribution, *arguments, 256))
    masses = np.exp(log_prob)
    # What float32 says of v − μ, in units of s.
    rounding = 2e-7 * np.maximum(np.abs(LOCATIONS), 1.0)[:, None] / SCALES
    assert np.all(np.abs(masses.sum(0) - 1) < 2e-5 + rounding)
    for score in scores:
        assert np.all(np.isfinite(score))
        error = np.abs(np.sum(masses * score * scale, axis=0))
        assert np.all(error < 1e-4 + 3 * rounding)


@pytest.mark.parametrize("distribution", FAMILIES)
def test_a_picture_and_its_negative_have_the_same_probability(distribution):
    value, location, scale = grid(5)
    log_prob, by_location, by_scale = evaluate(distribution, value, location, scale, 5)
    negative, reverse, same = evaluate(distribution, 1 - value, 1 - location, scale, 5)
    ordinary = np.abs(location) < 1.5  # 1 − μ is exact to one rounding
    ordinary &= scale > 0.01
    for ours, theirs in ((log_prob, negative), (by_location, -reverse), (by_scale, same)):
        ours, theirs = np.asarray(ours)[ordinary], np.asarray(theirs)[ordinary]
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)


def test_two_levels_are_a_bit():
    """Both bins are open: with the logistic, a Bernoulli variable of logit (μ − ½)/s."""
    location, scale = np.meshgrid(np.linspace(-3, 4, 15), [0.05, 0.3, 2.0])
    logits = (location - 0.5) / scale
    for distribution, log_cdf in ((DiscretisedLogistic, log_expit), (QuantisedNormal, log_ndtr)):
        for value, sign in ((1.0, 1), (0.0, -1)):
            log_prob, *_ = evaluate(distribution, jnp.float32(value), location, scale, 2)
            # Near one a probability has an absolute rounding of its own, ε/2.
            np.testing.assert_allclose(log_prob, log_cdf(sign * logits), rtol=1e-5, atol=1e-7)


def test_derivatives_of_log_ndtr_of_both_orders():
    """(log Φ)' = r = φ/Φ, the inverse of Mills' ratio, and (log Φ)'' = −r (u + r)."""
    u = np.array([-3000.0, -10.5, -9.5, -2.0, 0.0, 3.0, 50.0])
    ratio = np.exp(scipy.stats.norm.logpdf(u) - scipy.stats.norm.logcdf(u))
    ratio[0] = -u[0] + 1 / -u[0]  # beyond exp's range: −u − 1/u + O(u⁻³)
    slope = jax.grad(_log_ndtr)
    both = jax.jit(jax.vmap(lambda u: (slope(u), jax.grad(slope)(u))))
    np.testing.assert_allclose(both(jnp.asarray(u, jnp.float32))[0], ratio, rtol=2e-5)
    with jax.enable_x64(True):
        curvature = np.asarray(both(jnp.asarray(u))[1])
    np.testing.assert_allclose(curvature[1:], (-ratio * (u + ratio))[1:], rtol=1e-4, atol=1e-12)
    assert curvature[0] == pytest.approx(-1.0, rel=1e-5)


@pytest.mark.parametrize("distribution", FAMILIES)
def test_samples_of_a_batch_have_the_frequencies_of_their_masses(distribution):
    """Broadcast locations and scales, narrow and wide bins, and much mass in the open ones."""
    location, scale = np.float32([[0.5], [1.1]]), np.float32([0.02, 0.5])
    pixels = distribution(jnp.asarray(location), jnp.asarray(scale), 17)
    assert pixels.batch_shape == (2, 2)
    sample = jax.jit(lambda key: pixels.sample(seed=key, sample_shape=5000))
    draws = np.asarray(sample(jax.random.key(1)), np.float64) * 16
    np.testing.assert_allclose(draws, np.round(draws), atol=1e-5)
    values = np.arange(17)[:, None, None] / 16
    masses = np.exp(log_mass(FAMILIES[distribution], values, location, scale, 17))
    for index in np.ndindex(2, 2):
        counts = np.bincount(np.round(draws[:, *index]).astype(int), minlength=17)
        expected = 5000 * masses[:, *index]
        rare = expected < 5  # in one class, as the test asks
        counts = np.append(counts[~rare], counts[rare].sum())
        expected = np.append(expected[~rare], expected[rare].sum())
        kept = expected > 0
        assert scipy.stats.chisquare(counts[kept], expected[kept]).pvalue > 1e-3 / 4


@pytest.mark.parametrize("distribution", FAMILIES)
def test_moments_are_those_before_binning_and_the_mode_that_of_the_masses(distribution):
    family, levels = FAMILIES[distribution], np.arange(9)[:, None, None] / 8
    location, scale = np.meshgrid([-2.0, 0.1, 0.26, 0.48, 0.9, 3.0], [0.01, 0.1, 0.45, 2.0])

    @jax.jit
    def moments(location, scale):
        pixels = distribution(location, scale, 9)
        return pixels.mean(), pixels.variance(), pixels.mode()

    mean, variance, mode = moments(location, scale)
    np.testing.assert_allclose(mean, location, rtol=1e-6)
    np.testing.assert_allclose(variance, family.var(location, scale), rtol=1e-5)
    masses = log_mass(family, levels, location, scale, 9)
    modes = np.argmax(masses, axis=0) / 8
    np.testing.assert_array_equal(mode, modes)
    assert np.any(modes != np.round(np.clip(location, 0, 1) * 8) / 8)  # an open bin can win


@pytest.mark.parametrize("distribution", FAMILIES)
def test_a_value_is_read_as_its_nearest_level(distribution):
    near, levels = np.float32([[-0.2, 0.1, 0.26, 0.6, 1.3], [0.0, 0.0, 0.25, 0.5, 1.0]])
    at = np.full(5, 0.4, np.float32), np.full(5, 0.1, np.float32)
    ours = evaluate(distribution, near, *at, 5)[0]
    np.testing.assert_array_equal(ours, evaluate(distribution, levels, *at, 5)[0])


@pytest.mark.parametrize("distribution", FAMILIES)
def test_a_distribution_leaves_jit_and_vmap_as_it_is(distribution):
    location, scale = jnp.array([0.1, 0.7]), jnp.array([0.05, 0.5])
    made = jax.jit(jax.vmap(lambda loc, s: distribution(loc, s, 9)))(location, scale)
    assert made.levels == 9
    np.testing.assert_array_equal(made.mean(), location)
    x = np.array([0.25, 1.0])
    expected = log_mass(FAMILIES[distribution], x, *map(np.asarray, (location, scale)), 9)
    log_prob = jax.jit(lambda pixels: pixels.log_prob(x))(made)
    np.testing.assert_allclose(log_prob, expected, rtol=1e-5)


@pytest.mark.parametrize("distribution", FAMILIES)
def test_one_level_is_refused(distribution):
    with pytest.raises(ValueError, match="levels must be a whole number of at least 2, got 1"):
        distribution(jnp.array(0.5), jnp.array(0.1), 1)
