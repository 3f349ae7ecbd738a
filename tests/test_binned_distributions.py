"""Binned likelihoods against scipy in float64: masses, tails, gradients, samples, modes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from vaelab.quantised import DiscretisedLogistic, QuantisedNormal

FAMILIES = [(QuantisedNormal, scipy.stats.norm), (DiscretisedLogistic, scipy.stats.logistic)]
LOCATIONS = np.array([-50.0, -3.0, -0.1, 0.0, 0.013, 0.3, 0.5, 1.0, 1.2, 50.0])
# 0.0065 and 0.0133 lie on either side of where 256 levels become narrow.
SCALES = np.array([1e-4, 1e-3, 0.0065, 0.0133, 0.1, 1.0, 10.0])


def grid(levels: int):
    """(v, μ, s), every level with every location and scale, [V, 10, 7] each."""
    return np.meshgrid(np.arange(levels) / (levels - 1), LOCATIONS, SCALES, indexing="ij")


def reference(family, value, location, scale, levels):
    """log (F(b) − F(a)) from the upper tails of the borders, which lose nothing to cancellation."""
    width = 1 / (levels - 1)
    below, above = ((value + side * width / 2 - location) / scale for side in (-1, 1))
    lower, upper = (
        np.where(below + above < 0, *pair) for pair in ((-above, below), (-below, above))
    )
    log_lower, log_upper = family.logsf(lower), family.logsf(upper)
    inside = log_lower + np.log(-np.expm1(log_upper - log_lower))
    last = np.isclose(value, 1.0)
    return np.where(value == 0.0, family.logcdf(above), np.where(last, family.logsf(below), inside))


def make(distribution, levels):
    """log_prob as one compiled function of (value, location, scale)."""
    return jax.jit(lambda v, loc, scale: distribution(loc, scale, levels).log_prob(v))


@pytest.mark.parametrize("levels", [2, 5, 256])
@pytest.mark.parametrize(("distribution", "family"), FAMILIES)
def test_masses_equal_scipy_and_sum_to_one(distribution, family, levels):
    arguments = grid(levels)
    with jax.enable_x64(True):
        log_masses = np.asarray(make(distribution, levels)(*map(jnp.asarray, arguments)))
    # The series of narrow bins is good to 2e−5 of log P where P < 1e−8, and to 1e−6 elsewhere.
    np.testing.assert_allclose(
        log_masses, reference(family, *arguments, levels), rtol=2e-5, atol=1e-6
    )
    np.testing.assert_allclose(np.exp(log_masses).sum(0), 1.0, atol=1e-5)


@pytest.mark.parametrize(("distribution", "family"), FAMILIES)
def test_float32_equals_float64_up_to_its_inputs(distribution, family):
    value, location, scale = grid(256)
    log_masses = make(distribution, 256)(*(jnp.asarray(a, jnp.float32) for a in grid(256)))
    expected = reference(family, value, location, scale, 256)
    # One rounding of v − μ moves log P by as much as its slope in μ, |v − μ|/s² or 1/s.
    steps = np.abs(value - location) / scale
    slope = (np.maximum(steps, 1.0) if family is scipy.stats.norm else 1.0) / scale
    rounding = 2e-7 * np.maximum(np.abs(location), 1.0) * slope
    error = np.abs(log_masses - expected) - rounding
    assert np.all(error <= 2e-5 * np.maximum(np.abs(expected), 1.0))


@pytest.mark.parametrize("distribution", [QuantisedNormal, DiscretisedLogistic])
def test_float32_gradients_are_finite_far_outside_the_data(distribution):
    arguments = [jnp.asarray(a, jnp.float32) for a in grid(256)]
    total = lambda *args: jnp.sum(make(distribution, 256)(*args))  # noqa: E731
    gradients = jax.jit(jax.grad(total, argnums=(1, 2)))(*arguments)
    assert all(np.all(np.isfinite(gradient)) for gradient in gradients)
    # At μ = −50 and s = 1e−4 every level wants μ to rise, and the scale too.
    assert np.all(np.asarray(gradients)[:, 1:, 0, 0] > 0)


@pytest.mark.parametrize("levels", [5, 256])
@pytest.mark.parametrize(("distribution", "family"), FAMILIES)
def test_gradients_equal_finite_differences_of_scipy(distribution, family, levels):
    value, location, scale = (a[:, 1:-1, 1:] for a in grid(levels))
    with jax.enable_x64(True):
        total = lambda *args: jnp.sum(make(distribution, levels)(*args))  # noqa: E731
        gradients = jax.jit(jax.grad(total, argnums=(1, 2)))(
            *map(jnp.asarray, (value, location, scale))
        )
    step = 1e-5 * scale
    log_prob = lambda loc, s: reference(family, value, loc, s, levels)  # noqa: E731
    by_location = (log_prob(location + step, scale) - log_prob(location - step, scale)) / (2 * step)
    by_scale = (log_prob(location, scale + step) - log_prob(location, scale - step)) / (2 * step)
    for gradient, expected in zip(gradients, (by_location, by_scale), strict=True):
        # In units of the scale; differences of log P ~ −4e6 round to 1e−5 of themselves.
        gradient = np.asarray(gradient)
        np.testing.assert_allclose(gradient * scale, expected * scale, rtol=3e-4, atol=2e-4)


@pytest.mark.parametrize(("distribution", "family"), FAMILIES)
def test_samples_follow_the_masses_and_lie_on_the_levels(distribution, family):
    location, scale, levels = 0.8, 0.4, 5
    pixels = distribution(jnp.array(location), jnp.array(scale), levels)
    draws = pixels.sample(seed=jax.random.key(0), sample_shape=10_000)
    steps = np.asarray(draws, np.float64) * (levels - 1)
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-6)
    masses = np.exp(reference(family, np.arange(levels) / 4, location, scale, levels))
    counts = np.bincount(np.round(steps).astype(int), minlength=levels)
    assert scipy.stats.chisquare(counts, len(draws) * masses).pvalue > 1e-3


@pytest.mark.parametrize(("distribution", "family"), FAMILIES)
def test_the_mode_is_the_level_of_greatest_mass(distribution, family):
    location, scale = np.meshgrid([-2.0, 0.1, 0.26, 0.48, 0.9, 3.0], [0.01, 0.1, 0.45, 2.0])
    levels = np.arange(9)[:, None, None] / 8
    masses = reference(family, levels, location, scale, 9)
    mode = jax.jit(lambda loc, s: distribution(loc, s, 9).mode())
    modes = np.argmax(masses, axis=0) / 8
    np.testing.assert_allclose(mode(location, scale), modes)
    assert np.any(modes != np.round(np.clip(location, 0, 1) * 8) / 8)  # an open bin can win


@pytest.mark.parametrize(("distribution", "family"), FAMILIES)
def test_moments_are_those_before_binning(distribution, family):
    location, scale = np.array([-0.5, 0.2, 0.7]), np.array([0.1, 0.3, 2.0])
    pixels = distribution(jnp.asarray(location), jnp.asarray(scale))
    np.testing.assert_allclose(pixels.mean(), location, rtol=1e-6)
    np.testing.assert_allclose(pixels.variance(), family.var(location, scale), rtol=1e-5)


@pytest.mark.parametrize("distribution", [QuantisedNormal, DiscretisedLogistic])
def test_a_value_is_read_as_its_nearest_level(distribution):
    near, levels = np.array([-0.2, 0.1, 0.26, 0.6, 1.3]), np.array([0.0, 0.0, 0.25, 0.5, 1.0])
    log_prob = make(distribution, 5)
    at = (np.full(5, 0.4), np.full(5, 0.1))
    np.testing.assert_array_equal(log_prob(near, *at), log_prob(levels, *at))
