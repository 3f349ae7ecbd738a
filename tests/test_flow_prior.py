"""The flow prior against Gaussians by scipy and Jacobians by differentiation."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from vaelab.priors.flow import FlowPrior


def random_variables(prior, scale=0.5, dtype=np.float64):
    shapes = jax.eval_shape(prior.init, jax.random.key(0), jnp.zeros(prior.latent_dim))
    rng = np.random.default_rng(1)
    draw = lambda leaf: jnp.asarray(scale * rng.normal(size=leaf.shape), dtype)  # noqa: E731
    return jax.tree.map(draw, shapes)


def log_prob(prior):
    return jax.jit(lambda variables, z: prior.apply(variables, z, method="log_prob"))


@pytest.mark.parametrize("latent_dim", [1, 3])
def test_an_affine_flow_is_a_gaussian_whose_volume_counts_once(latent_dim):
    """With all couplings at zero, z_d = t_d + σ_d u_d: independent N(t_d, σ_d²), by scipy.

    A log-determinant counted once per coordinate would be off by (D − 1) Σ log σ.
    """
    with jax.enable_x64(True):
        prior = FlowPrior(latent_dim, num_layers=2, hidden=(3,))
        variables = jax.tree.map(jnp.zeros_like, random_variables(prior))
        shift, half = np.random.default_rng(0).normal(size=(2, latent_dim))
        variables["params"]["flow"]["affine"]["bias"] = jnp.concatenate([shift, half])
        z = np.random.default_rng(2).normal(size=(4, 5, latent_dim))
        expected = scipy.stats.norm.logpdf(z, shift, np.exp(10 * np.tanh(half / 20))).sum(-1)
        np.testing.assert_allclose(log_prob(prior)(variables, z), expected, rtol=1e-12)


def test_the_density_is_the_base_s_times_the_jacobian_s_determinant():
    with jax.enable_x64(True):
        prior = FlowPrior(3, num_layers=3, hidden=(4,))
        variables = random_variables(prior)
        z = np.random.default_rng(0).normal(size=(7, 3))

        @jax.jit
        def use(z):
            f = prior.bind(variables).flow.forward
            jacobian = jax.vmap(jax.jacobian(lambda z: f(z)[0]))(z)
            return prior.apply(variables, z, method="log_prob"), f(z)[0], jacobian

        log_p, u, jacobian = use(z)
        volume = np.linalg.slogdet(jacobian)[1]
        assert np.min(np.abs(volume)) > 0.01
        expected = scipy.stats.norm.logpdf(u).sum(-1) + volume
        np.testing.assert_allclose(log_p, expected, rtol=1e-10)


@pytest.mark.parametrize("latent_dim", [1, 5])
def test_gradients_are_finite_at_extreme_z(latent_dim):
    prior = FlowPrior(latent_dim)
    variables = random_variables(prior, dtype=np.float32)
    rng = np.random.default_rng(0)
    z = rng.normal(size=(8, latent_dim)) * np.logspace(0, 4, 8)[:, None]
    total = lambda variables, z: jnp.sum(prior.apply(variables, z, method="log_prob"))  # noqa: E731
    gradients = jax.jit(jax.grad(total, argnums=(0, 1)))(variables, jnp.asarray(z, jnp.float32))
    for leaf in jax.tree.leaves(gradients):
        assert np.all(np.isfinite(leaf))
    assert np.all(gradients[1] != 0)


def test_it_starts_as_the_standard_normal_with_any_number_of_coordinates():
    for latent_dim in (1, 2, 511, 512):
        prior = FlowPrior(latent_dim, num_layers=2, hidden=(3,))
        z = np.random.default_rng(0).normal(size=(2, latent_dim)).astype(np.float32)
        log_p, variables = jax.jit(prior.init_with_output)(jax.random.key(0), z)
        np.testing.assert_allclose(log_p, scipy.stats.norm.logpdf(z).sum(-1), rtol=1e-5)
        sample = jax.eval_shape(lambda p=prior, v=variables: p.apply(
            v, jax.random.key(1), 3, method="sample"))  # fmt: skip
        assert sample.shape == (3, latent_dim)


def test_errors_are_sentences():
    with pytest.raises(ValueError, match="num_layers must be at least 1, got 0"):
        FlowPrior(2, num_layers=0)
