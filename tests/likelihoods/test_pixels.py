"""Independent pixels against distrax's Independent."""

from __future__ import annotations

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaelab.likelihoods import Bernoulli, Pixels


@pytest.mark.parametrize("make", [lambda a: Bernoulli(logits=a), lambda a: distrax.Normal(a, 0.5)])
def test_pixels_are_distraxs_independent_over_images(make):
    rng = np.random.default_rng(2)
    flat = jnp.asarray(rng.normal(size=(4, 3, 24)), jnp.float32)
    x = jnp.asarray(rng.integers(0, 2, size=(3, 2, 4, 3)), jnp.float32)
    ours, theirs = (
        Pixels(make(flat), (2, 4, 3)),
        distrax.Independent(make(flat.reshape(4, 3, 2, 4, 3)), 3),
    )
    assert (ours.batch_shape, ours.event_shape) == (theirs.batch_shape, theirs.event_shape)
    np.testing.assert_allclose(ours.log_prob(x), theirs.log_prob(x), rtol=1e-5)
    for name in ("mean", "mode", "variance"):
        np.testing.assert_allclose(getattr(ours, name)(), getattr(theirs, name)(), rtol=1e-6)
    key = jax.random.key(0)
    samples = ours.sample(seed=key, sample_shape=(2, 5))
    assert samples.shape == (2, 5, 4, 3, 2, 4, 3)
    np.testing.assert_allclose(ours.log_prob(samples), theirs.log_prob(samples), rtol=1e-5)
