"""The autoregressive prior against its conditionals, one by one, by scipy in float64."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from vaelab.priors.autoregressive import AutoregressivePrior


def random_variables(prior, scale=0.5, dtype=np.float64):
    shapes = jax.eval_shape(prior.init, jax.random.key(0), jnp.zeros(prior.latent_dim))
    rng = np.random.default_rng(1)
    draw = lambda leaf: jnp.asarray(scale * rng.normal(size=leaf.shape), dtype)  # noqa: E731
    return jax.tree.map(draw, shapes)


@pytest.mark.parametrize(("latent_dim", "num_components"), [(1, 1), (1, 3), (5, 2)])
def test_it_is_the_product_of_its_conditionals(latent_dim, num_components):
    with jax.enable_x64(True):
        prior = AutoregressivePrior(latent_dim, num_components=num_components, hidden=(6, 7))
        variables = random_variables(prior)
        rng = np.random.default_rng(0)
        z = 2 * rng.normal(size=(4, latent_dim))
        network = jax.jit(lambda z: prior.bind(variables).network(z))
        total = np.zeros(4)
        for d in range(latent_dim):
            # Whatever the coordinates from d on are, the d-th conditional must not see them.
            known = np.concatenate([z[:, :d], 10 * rng.normal(size=(4, latent_dim - d))], axis=1)
            logits, mean, log_variance = np.split(np.asarray(network(known)[:, d]), 3, axis=-1)
            if num_components > 1:
                mean = mean + np.linspace(-1, 1, num_components)
            log_normal = scipy.stats.norm.logpdf(z[:, d, None], mean, np.exp(log_variance / 2))
            total += scipy.special.logsumexp(
                scipy.special.log_softmax(logits, axis=-1) + log_normal, axis=-1
            )
        log_p = jax.jit(lambda z: prior.apply(variables, z, method="log_prob"))(z)
        np.testing.assert_allclose(log_p, total, rtol=1e-10)


def test_each_coordinate_is_drawn_given_those_before_it():
    """With variances of almost nothing a sample is the conditionals' means at itself."""
    prior = AutoregressivePrior(4, num_components=1, hidden=(6,), log_variance_range=(-40.0, -39.0))
    variables = random_variables(prior, scale=1.0, dtype=np.float32)
    variables["params"]["network"]["output_bias"] += jnp.arange(4.0)[:, None]
    z = prior.apply(variables, jax.random.key(0), 3, method="sample")
    mean = prior.bind(variables).network(z)[..., 1]
    np.testing.assert_allclose(z, mean, rtol=1e-5, atol=1e-5)
    assert np.min(np.abs(z)) > 1e-3


def test_log_variances_are_clipped():
    prior = AutoregressivePrior(1, num_components=1, log_variance_range=(-2.0, 1.0))
    variables = jax.tree.map(jnp.zeros_like, random_variables(prior, dtype=np.float32))
    for free, clipped in ((-5.0, -2.0), (0.5, 0.5), (7.0, 1.0)):
        variables["params"]["network"]["output_bias"] = jnp.array([[0.0, 0.0, free]])
        log_p = prior.apply(variables, jnp.array([0.3]), method="log_prob")
        expected = scipy.stats.norm.logpdf(0.3, 0.0, np.exp(clipped / 2))
        np.testing.assert_allclose(log_p, expected, rtol=1e-5)


def test_components_start_apart():
    """Components that start equal get equal gradients, and stay one."""
    prior, z = AutoregressivePrior(2, num_components=3, hidden=(4,)), jnp.array([[0.3, -1.0]])
    variables = jax.jit(prior.init)(jax.random.key(0), z)
    total = lambda variables: jnp.sum(prior.apply(variables, z, method="log_prob"))  # noqa: E731
    gradient = jax.jit(jax.grad(total))(variables)["params"]["network"]["output_bias"]
    means = np.asarray(gradient).reshape(2, 3, 3)[:, 1]
    assert np.all(np.ptp(means, axis=1) > 0.1)


@pytest.mark.parametrize("latent_dim", [1, 5])
def test_gradients_are_finite_at_extreme_z(latent_dim):
    prior = AutoregressivePrior(latent_dim)
    variables = random_variables(prior, dtype=np.float32)
    rng = np.random.default_rng(0)
    z = rng.normal(size=(8, latent_dim)) * np.logspace(0, 4, 8)[:, None]
    total = lambda variables, z: jnp.sum(prior.apply(variables, z, method="log_prob"))  # noqa: E731
    gradients = jax.jit(jax.grad(total, argnums=(0, 1)))(variables, jnp.asarray(z, jnp.float32))
    for leaf in jax.tree.leaves(gradients):
        assert np.all(np.isfinite(leaf))
    assert np.all(gradients[1][:, -1] != 0)


def test_any_number_of_coordinates():
    for latent_dim in (1, 2, 511, 512):
        prior = AutoregressivePrior(latent_dim)

        def use(key, prior=prior):
            z = jnp.zeros((2, 3, prior.latent_dim))
            log_p, variables = prior.init_with_output(key, z)
            return log_p, prior.apply(variables, key, 7, method="sample")

        log_p, z = jax.eval_shape(use, jax.random.key(0))
        assert log_p.shape == (2, 3)
        assert z.shape == (7, latent_dim)


def test_errors_are_sentences():
    with pytest.raises(ValueError, match="num_components must be at least 1, got 0"):
        AutoregressivePrior(2, num_components=0)
