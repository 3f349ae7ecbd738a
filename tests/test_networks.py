"""Trunks and conditional distributions against the same formulas written out in numpy and scipy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from scipy.special import expit

from vaelab.networks import MLP, ConditionalGaussian, GatedMLP


def random_variables(module, *args, seed=0, scale=0.5):
    """Variables with the shapes of `module.init`, biases not zero."""
    shapes = jax.eval_shape(module.init, jax.random.key(0), *args)
    rng = np.random.default_rng(seed)
    draw = lambda leaf: jnp.asarray(scale * rng.normal(size=leaf.shape), leaf.dtype)  # noqa: E731
    return jax.tree.map(draw, shapes)


def dense(params, h):
    return h @ np.asarray(params["kernel"], np.float64) + np.asarray(params["bias"], np.float64)


def test_gated_mlp_is_linear_times_sigmoid_of_linear():
    module, x = GatedMLP((4, 3)), np.random.default_rng(0).normal(size=(6, 5))
    variables = random_variables(module, jnp.asarray(x))
    h = x
    for name, width in (("Dense_0", 4), ("Dense_1", 3)):
        kernel, bias = (np.asarray(variables["params"][name][p], float) for p in ("kernel", "bias"))
        W, V, b, c = kernel[:, :width], kernel[:, width:], bias[:width], bias[width:]
        h = (h @ W + b) * expit(h @ V + c)
    np.testing.assert_allclose(module.apply(variables, x), h, rtol=1e-4, atol=1e-6)


def test_mlp_has_an_activation_after_each_layer():
    x = np.random.default_rng(0).normal(size=(6, 5))
    for activation, reference in ((None, lambda h: np.maximum(h, 0.0)), (jnp.tanh, np.tanh)):
        module = MLP((4, 3)) if activation is None else MLP((4, 3), activation=activation)
        variables = random_variables(module, jnp.asarray(x))
        h = x
        for name in ("Dense_0", "Dense_1"):
            h = reference(dense(variables["params"][name], h))
        np.testing.assert_allclose(module.apply(variables, x), h, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("trunk", [MLP, GatedMLP])
@pytest.mark.parametrize("batch", [(), (5,), (2, 5)])
def test_event_axes_are_flattened_and_batch_axes_kept(trunk, batch):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(*batch, 4, 3, 2)), jnp.float32)
    images, vectors = trunk((7,), event_ndims=3), trunk((7,))
    variables = random_variables(images, x)
    h = images.apply(variables, x)
    assert h.shape == (*batch, 7)
    np.testing.assert_array_equal(h, vectors.apply(variables, x.reshape(*batch, 24)))
    scalars = jax.eval_shape(trunk((7,), event_ndims=0).init_with_output, jax.random.key(0), x)[0]
    assert scalars.shape == (*x.shape, 7)


def conditional_gaussian(log_variance_range):
    """μ = (h, −h), log σ² = (4h, −20h) at a scalar input h."""
    module = ConditionalGaussian(MLP(()), dim=2, log_variance_range=log_variance_range)
    kernel = jnp.array([[1.0, -1.0, 4.0, -20.0]])
    return module, {"params": {"Dense_0": {"kernel": kernel, "bias": jnp.zeros(4)}}}


@pytest.mark.parametrize("log_variance_range", [(-6.0, 2.0), (-1.0, 0.5), None])
def test_conditional_gaussian_clips_its_log_variance(log_variance_range):
    module, variables = conditional_gaussian(log_variance_range)
    h = np.linspace(-1.0, 1.0, 9)[:, None]
    free = np.concatenate([4 * h, -20 * h], axis=1)
    log_variance = free if log_variance_range is None else np.clip(free, *log_variance_range)
    distribution = module.apply(variables, jnp.asarray(h))
    assert distribution.batch_shape == (9,)
    assert distribution.event_shape == (2,)
    np.testing.assert_allclose(distribution.mean(), np.concatenate([h, -h], axis=1), rtol=1e-6)
    np.testing.assert_allclose(2 * np.log(distribution.stddev()), log_variance, atol=2e-5)
    value = np.random.default_rng(0).normal(size=(4, 9, 2))
    expected = scipy.stats.norm.logpdf(
        value, np.concatenate([h, -h], axis=1), np.exp(0.5 * log_variance)
    )
    np.testing.assert_allclose(distribution.log_prob(value), expected.sum(-1), rtol=1e-4)


def test_gradients_of_the_variance_flow_inside_the_range_and_stop_outside():
    module, variables = conditional_gaussian((-6.0, 2.0))

    def log_variance(h):
        return 2 * jnp.log(module.apply(variables, h[None]).stddev())

    # (log σ²) = (4h, −20h): at h = 0.05 both lie inside, at 0.4 the second one is clipped.
    gradients = jax.jit(jax.vmap(jax.jacrev(log_variance)))(jnp.array([0.05, 0.4, 1.0]))
    np.testing.assert_allclose(gradients, [[4.0, -20.0], [4.0, 0.0], [0.0, 0.0]], atol=1e-4)
