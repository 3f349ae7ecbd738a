"""Trunks and conditional distributions against the same formulas written out in numpy and scipy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats
from scipy.special import expit, log_expit

from vaelab.networks import (
    MLP,
    BernoulliDecoder,
    CategoricalDecoder,
    ConditionalGaussian,
    GatedMLP,
    GaussianDecoder,
)


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


@pytest.mark.parametrize("decoder", [BernoulliDecoder, GaussianDecoder])
@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
@pytest.mark.parametrize("shape", [(5,), (4, 3, 2)])
def test_decoders_have_the_shape_of_an_example(decoder, batch, shape):
    module, z = decoder(MLP((6,)), shape=shape), jnp.ones((*batch, 2))

    def use(key):
        likelihood = module.init_with_output(key, z)[0]
        assert likelihood.batch_shape == batch
        assert likelihood.event_shape == shape
        samples = likelihood.sample(seed=key, sample_shape=(7,))
        return likelihood.mean(), samples, likelihood.log_prob(jnp.ones(shape))

    mean, samples, log_prob = jax.eval_shape(use, jax.random.key(0))
    assert mean.shape == (*batch, *shape)
    assert samples.shape == (7, *batch, *shape)
    assert log_prob.shape == batch


def test_gaussian_decoder_equals_scipy():
    module = GaussianDecoder(MLP((6,)), shape=(3, 2), scale=0.3)
    rng = np.random.default_rng(0)
    z, x = rng.normal(size=(4, 5, 2)), rng.normal(size=(5, 3, 2))
    variables = random_variables(module, jnp.asarray(z))
    params = variables["params"]
    h = np.maximum(dense(params["trunk"]["Dense_0"], z), 0.0)
    mean = dense(params["Dense_0"], h).reshape(4, 5, 3, 2)
    likelihood = module.apply(variables, z)
    np.testing.assert_allclose(likelihood.mean(), mean, rtol=1e-4, atol=1e-5)
    expected = scipy.stats.norm.logpdf(x, mean, 0.3).sum((-2, -1))
    np.testing.assert_allclose(likelihood.log_prob(x), expected, rtol=1e-4)


def test_bernoulli_decoder_equals_scipy():
    module = BernoulliDecoder(MLP((6,)), shape=(3, 2))
    rng = np.random.default_rng(0)
    z, x = rng.normal(size=(4, 5, 2)), rng.integers(0, 2, size=(5, 3, 2))
    variables = random_variables(module, jnp.asarray(z), scale=1.0)
    params = variables["params"]
    h = np.maximum(dense(params["trunk"]["Dense_0"], z), 0.0)
    logits = dense(params["Dense_0"], h).reshape(4, 5, 3, 2)
    likelihood = module.apply(variables, z)
    np.testing.assert_allclose(likelihood.mean(), expit(logits), rtol=1e-4, atol=1e-6)
    expected = (x * log_expit(logits) + (1 - x) * log_expit(-logits)).sum((-2, -1))
    np.testing.assert_allclose(likelihood.log_prob(x), expected, rtol=1e-4)


def test_categorical_decoder_equals_scipy():
    module = CategoricalDecoder(MLP((6,)), shape=(3, 2), levels=5)
    rng = np.random.default_rng(0)
    z, level = rng.normal(size=(4, 5, 2)), rng.integers(0, 5, size=(5, 3, 2))
    variables = random_variables(module, jnp.asarray(z), scale=1.0)
    params = variables["params"]
    h = np.maximum(dense(params["trunk"]["Dense_0"], z), 0.0)
    logits = dense(params["Dense_0"], h).reshape(4, 5, 3, 2, 5)
    likelihood = module.apply(variables, z)
    log_probs = scipy.special.log_softmax(logits, axis=-1)
    index = np.broadcast_to(level, (4, *level.shape))[..., None]
    expected = np.take_along_axis(log_probs, index, -1)[..., 0].sum((-2, -1))
    np.testing.assert_allclose(likelihood.log_prob(level / 4), expected, rtol=1e-4)
    mean = np.exp(log_probs) @ (np.arange(5) / 4)
    np.testing.assert_allclose(likelihood.mean(), mean, rtol=1e-4)


def test_decoders_say_what_data_they_are_for():
    trunk = MLP((6,))
    assert BernoulliDecoder.data_range == CategoricalDecoder.data_range == (0.0, 1.0)
    assert GaussianDecoder.data_range == (-np.inf, np.inf)
    assert BernoulliDecoder(trunk, (2,)).num_levels == 2
    assert CategoricalDecoder(trunk, (2,), levels=17).num_levels == 17
    assert GaussianDecoder(trunk, (2,)).num_levels is None
    with pytest.raises(ValueError, match="levels must be at least 2, got 1"):
        CategoricalDecoder(trunk, (2,), levels=1)
