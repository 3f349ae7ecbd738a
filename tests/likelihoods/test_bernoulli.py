"""The Bernoulli against scipy in float64, finite differences, and distrax's own."""

from __future__ import annotations

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit, log_expit

from vaelab.likelihoods import Bernoulli

LOGITS = np.array([-80.0, -20.0, -3.0, -0.1, 0.0, 0.4, 5.0, 30.0, 80.0])
VALUES = np.array([0.0, 0.25, 1.0])  # a grey level gives the cross-entropy


def log_prob(logits, x):
    return Bernoulli(logits=logits).log_prob(x)


def reference(logits: np.ndarray, x: np.ndarray) -> np.ndarray:
    """x log σ(η) + (1 − x) log σ(−η), with scipy's own logarithm of the sigmoid."""
    return x * log_expit(logits) + (1 - x) * log_expit(-logits)


@pytest.mark.parametrize(("x64", "rtol"), [(False, 2e-6), (True, 1e-14)])
def test_log_prob_equals_scipy_also_in_the_tails(x64, rtol):
    logits, x = np.meshgrid(LOGITS, VALUES)
    with jax.enable_x64(x64):
        # At logit 30 and x = 1, −log p is 1e−13, below the rounding of x·η in float32.
        atol = 1e-5 if not x64 else 1e-14
        ours = log_prob(jnp.asarray(logits), jnp.asarray(x))
        np.testing.assert_allclose(ours, reference(logits, x), rtol=rtol, atol=atol)
        np.testing.assert_array_equal(ours, jax.jit(log_prob)(jnp.asarray(logits), jnp.asarray(x)))


def test_gradients_equal_finite_differences_in_float64():
    logits, x = (a.ravel() for a in np.meshgrid(LOGITS, VALUES))
    step = 1e-5
    with jax.enable_x64(True):
        gradient = jax.jit(jax.grad(lambda *args: jnp.sum(log_prob(*args)), argnums=(0, 1)))
        d_logits, d_x = gradient(jnp.asarray(logits), jnp.asarray(x))
    by_difference = reference(logits + step, x) - reference(logits - step, x)
    np.testing.assert_allclose(d_logits, by_difference / (2 * step), atol=1e-8)
    by_difference = reference(logits, x + step) - reference(logits, x - step)
    np.testing.assert_allclose(d_x, by_difference / (2 * step), rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(d_logits, x - expit(logits), rtol=1e-12, atol=1e-15)


def test_the_gradient_can_be_differentiated_again():
    logits, x = jnp.linspace(-4.0, 4.0, 5), jnp.ones(5)
    total = lambda logits: jnp.sum(log_prob(logits, x))  # noqa: E731
    hessian = jax.jit(jax.jacrev(jax.grad(total)))(logits)
    p = expit(np.asarray(logits, np.float64))
    np.testing.assert_allclose(hessian, np.diag(-p * (1 - p)), atol=1e-6)


BROADCASTS = [
    ((4, 3, 5), (3, 5)),  # [K, B, H] logits of one image per example
    ((3, 5), (4, 3, 5)),
    ((4, 1, 5), (1, 3, 5)),
    ((1, 3, 5), (4, 3, 1)),
    ((), (3, 5)),
    ((3, 5), ()),
]


@pytest.mark.parametrize(("logits_shape", "x_shape"), BROADCASTS)
def test_broadcasting_keeps_values_and_gradients(logits_shape, x_shape):
    rng = np.random.default_rng(0)
    logits = jnp.asarray(rng.normal(size=logits_shape), jnp.float32)
    x = jnp.asarray(rng.integers(0, 2, size=x_shape), jnp.float32)
    shape = np.broadcast_shapes(logits_shape, x_shape)
    cotangent = jnp.asarray(rng.normal(size=shape), jnp.float32)

    def weighted(log_prob):
        return lambda logits, x: jnp.sum(cotangent * log_prob(logits, x))

    @jax.jit
    def value_and_gradients(logits, x):
        theirs = lambda logits, x: distrax.Bernoulli(logits=logits).log_prob(x)  # noqa: E731
        return [
            (f(logits, x), *jax.grad(weighted(f), argnums=(0, 1))(logits, x))
            for f in (log_prob, theirs)
        ]

    ours, expected = value_and_gradients(logits, x)
    assert [array.shape for array in ours] == [shape, logits_shape, x_shape]
    for array, value in zip(ours, expected, strict=True):
        np.testing.assert_allclose(array, value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("in_axes", [(0, None), (None, 0), (0, 0), (1, 0)])
def test_vmap_equals_a_loop(in_axes):
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(3, 3, 2)).astype(np.float32)
    x = rng.integers(0, 2, size=(3, 3, 2)).astype(np.float32)

    @jax.jit
    def value_and_gradients(logits, x):
        total = lambda *args: jnp.sum(log_prob(*args))  # noqa: E731
        return log_prob(logits, x), *jax.grad(total, argnums=(0, 1))(logits, x)

    def row(array, axis, i):
        return array if axis is None else np.take(array, i, axis)

    mapped = jax.jit(jax.vmap(value_and_gradients, in_axes))(logits, x)
    rows = [
        value_and_gradients(row(logits, in_axes[0], i), row(x, in_axes[1], i)) for i in range(3)
    ]
    for batched, single in zip(mapped, zip(*rows, strict=True), strict=True):
        np.testing.assert_allclose(batched, np.stack(single), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.int32, jnp.uint8, jnp.bool_, jnp.bfloat16])
def test_bits_may_have_any_type(dtype):
    logits, x = jnp.array([-1.0, 0.5, 2.0]), jnp.array([1, 0, 1], dtype)
    gradient = jax.jit(jax.grad(lambda logits: jnp.sum(log_prob(logits, x))))(logits)
    expected = np.array([1.0, 0.0, 1.0]) - expit([-1.0, 0.5, 2.0])
    np.testing.assert_allclose(gradient, expected, rtol=1e-5)


def test_samples_follow_the_density():
    logits = jnp.array([-2.0, 0.0, 1.5])
    samples, log_probs = Bernoulli(logits=logits).sample_and_log_prob(
        seed=jax.random.key(0), sample_shape=(20_000,)
    )
    p = expit(np.asarray(logits, np.float64))
    error = np.sqrt(p * (1 - p) / len(samples))
    assert np.all(np.abs(np.mean(samples, axis=0) - p) < 4 * error)
    np.testing.assert_allclose(log_probs, reference(logits, np.asarray(samples)), rtol=1e-5)
