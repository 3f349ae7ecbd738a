"""Distributions that distrax lacks."""

from __future__ import annotations

import chex
import distrax
import jax
import jax.numpy as jnp

from vaelab.types import Array, PRNGKey


class Bernoulli(distrax.Bernoulli):
    """Independent bits, with log p(x) = x·η − softplus(η) for logits η.

    distrax evaluates two softplus functions per pixel and guards both products; over images that is
    much of a training step's time outside its matrix products. Values outside {0, 1} are allowed
    and give the cross-entropy.

    >>> Bernoulli(logits=jnp.array(0.0)).log_prob(jnp.array(1.0))
    Array(-0.6931472, dtype=float32...)
    """

    def log_prob(self, value: Array) -> Array:
        return value * self.logits - _softplus(self.logits)


@jax.custom_jvp
def _softplus(x: Array) -> Array:
    """log(1 + exp(x)), without jax.nn.softplus's guards against infinities, which cost the most."""
    return jnp.maximum(x, 0.0) + jnp.log1p(jnp.exp(-jnp.abs(x)))


# Autodiff of the two kinks would be wrong at 0.
_softplus.defjvps(lambda tangent, _, x: tangent * jax.nn.sigmoid(x))


class GreyLevels(distrax.Distribution):
    """Categorical over the V equidistant grey levels 0, 1/(V − 1), ..., 1; logits [..., V] -> [...].

    A value is read as its nearest level.

    >>> GreyLevels(logits=jnp.zeros((5, 17))).log_prob(jnp.full(5, 0.25)).shape
    (5,)
    """

    def __init__(self, logits: Array):
        super().__init__()
        self.logits = logits

    @property
    def event_shape(self) -> tuple[int, ...]:
        return ()

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self.logits.shape[:-1]

    def log_prob(self, value: Array) -> Array:
        level = jnp.round(jnp.clip(value, 0.0, 1.0) * (self._num_levels - 1))
        chosen = level[..., None] == jnp.arange(self._num_levels)
        # A masked sum, whose gradient is a product; that of an indexed lookup would be a scatter.
        logit = jnp.sum(jnp.where(chosen, self.logits, 0.0), axis=-1)
        return logit - jax.nn.logsumexp(self.logits, axis=-1)

    def mean(self) -> Array:
        return jnp.sum(jax.nn.softmax(self.logits) * self._levels, axis=-1)

    def mode(self) -> Array:
        return self._levels[jnp.argmax(self.logits, axis=-1)]

    def variance(self) -> Array:
        squares = jnp.sum(jax.nn.softmax(self.logits) * self._levels**2, axis=-1)
        return squares - self.mean() ** 2

    def _sample_n(self, key: PRNGKey, n: int) -> Array:
        return self._levels[jax.random.categorical(key, self.logits, shape=(n, *self.batch_shape))]

    @property
    def _num_levels(self) -> int:
        return self.logits.shape[-1]

    @property
    def _levels(self) -> Array:
        return jnp.linspace(0.0, 1.0, self._num_levels)


class Pixels(distrax.Distribution):
    """Independent pixels of an image, held in one axis. [..., height · width · channels] -> [...].

    Like distrax.Independent over images of the given shape; but the log-probability is a sum over
    one axis, which XLA vectorises on CPUs; a sum over three made `evaluation.log_likelihood` take
    twice as long.

    >>> likelihood = Pixels(Bernoulli(logits=jnp.zeros((5, 64))), (8, 8, 1))
    >>> likelihood.batch_shape, likelihood.event_shape, likelihood.mean().shape
    ((5,), (8, 8, 1), (5, 8, 8, 1))
    """

    def __init__(self, pixels: distrax.Distribution, shape: tuple[int, ...]):
        super().__init__()
        self._pixels = pixels
        self._shape = tuple(shape)

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self._shape

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self._pixels.batch_shape[:-1]

    @property
    def location(self) -> Array | None:
        """The location parameter where pixels have one, what a decoder reconstructs; else None."""
        location = getattr(self._pixels, "loc", None)
        return None if location is None else self._image(location)

    def log_prob(self, value: Array) -> Array:
        chex.assert_equal(value.shape[value.ndim - len(self._shape) :], self._shape)
        batch_shape = value.shape[: value.ndim - len(self._shape)]
        return jnp.sum(self._pixels.log_prob(value.reshape(*batch_shape, -1)), axis=-1)

    def mean(self) -> Array:
        return self._image(self._pixels.mean())

    def mode(self) -> Array:
        return self._image(self._pixels.mode())

    def variance(self) -> Array:
        return self._image(self._pixels.variance())

    def _sample_n(self, key: PRNGKey, n: int) -> Array:
        return self._image(self._pixels.sample(seed=key, sample_shape=n))

    def _image(self, values: Array) -> Array:
        return values.reshape(*values.shape[:-1], *self._shape)
