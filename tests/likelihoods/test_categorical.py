"""Grey levels against their enumeration in numpy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
import scipy.stats

from vaelab.likelihoods import GreyLevels


def test_grey_levels_equal_their_enumeration():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3, 2, 17))
    p = np.exp(logits - scipy.special.logsumexp(logits, axis=-1, keepdims=True))
    levels = np.arange(17) / 16
    grey = GreyLevels(jnp.asarray(logits, jnp.float32))
    everything = np.stack([grey.log_prob(jnp.full((3, 2), level)) for level in levels], -1)
    np.testing.assert_allclose(np.exp(everything), p, rtol=1e-5)
    np.testing.assert_allclose(grey.mean(), p @ levels, rtol=1e-5)
    np.testing.assert_allclose(grey.variance(), p @ levels**2 - (p @ levels) ** 2, rtol=1e-4)
    np.testing.assert_allclose(grey.mode(), levels[np.argmax(p, -1)])


def test_grey_levels_sample_by_their_probabilities():
    p = np.array([0.1, 0.2, 0.3, 0.4])
    draws = GreyLevels(jnp.log(p)).sample(seed=jax.random.key(0), sample_shape=10_000)
    counts = [np.sum(np.isclose(draws, level)) for level in np.arange(4) / 3]
    assert sum(counts) == 10_000
    assert scipy.stats.chisquare(counts, 10_000 * p).pvalue > 1e-3


def test_the_gradient_of_grey_levels_is_indicator_minus_probability():
    logits, x = np.array([0.3, -1.0, 2.0]), 0.5
    gradient = jax.grad(lambda logits: GreyLevels(logits).log_prob(x))(jnp.asarray(logits))
    expected = np.array([0.0, 1.0, 0.0]) - scipy.special.softmax(logits)
    np.testing.assert_allclose(gradient, expected, atol=1e-6)
