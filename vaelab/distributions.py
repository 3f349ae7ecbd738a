"""Distributions that distrax lacks."""

from __future__ import annotations

import distrax
import jax
import jax.numpy as jnp

from vaelab.types import Array


class Bernoulli(distrax.Bernoulli):
    """Independent bits, with log p(x) = x·η − softplus(η) for logits η.

    distrax evaluates two softplus functions per pixel and guards both products; over images that is
    most of a training step's time outside its matrix products. Values outside {0, 1} are allowed and
    give the cross-entropy.

    >>> Bernoulli(logits=jnp.array(0.0)).log_prob(jnp.array(1.0))
    Array(-0.6931472, dtype=float32...)
    """

    def log_prob(self, value: Array) -> Array:
        return _bernoulli_log_prob(self.logits, value)


@jax.custom_vjp
def _bernoulli_log_prob(logits: Array, x: Array) -> Array:
    return x * logits - jax.nn.softplus(logits)


def _forward(logits: Array, x: Array) -> tuple[Array, tuple[Array, Array]]:
    return _bernoulli_log_prob(logits, x), (logits, x)


def _backward(residuals: tuple[Array, Array], cotangent: Array) -> tuple[Array, Array]:
    # One sigmoid, from the logits: autodiff of softplus would keep and combine several arrays.
    logits, x = residuals
    d_logits = cotangent * (x - jax.nn.sigmoid(logits))
    d_x = cotangent * logits
    return _unbroadcast(d_logits, logits), _unbroadcast(d_x, x)


_bernoulli_log_prob.defvjp(_forward, _backward)


def _unbroadcast(gradient: Array, like: Array) -> Array:
    """Sums a gradient over the axes along which its argument was broadcast."""
    extra = gradient.ndim - jnp.ndim(like)
    gradient = jnp.sum(gradient, axis=tuple(range(extra)))
    axes = tuple(i for i, n in enumerate(jnp.shape(like)) if n == 1 and gradient.shape[i] != 1)
    return jnp.sum(gradient, axis=axes, keepdims=True)
