"""Exponential families of x: p(x) = h(x) exp(⟨ν(x), η⟩ − A(η)), all statistics of an example in one vector."""

from __future__ import annotations

import abc
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.checks import UsageError
from vaelab.types import Array


class Family(abc.ABC):
    """ν, A and log h. The natural parameters η have the shape of ν(x), [..., N]."""

    @abc.abstractmethod
    def statistics(self, x: Array) -> Array:
        """ν(x). [..., D] -> [..., N]."""

    @abc.abstractmethod
    def log_partition(self, natural: Array) -> Array:
        """A(η). [..., N] -> [...]."""

    @abc.abstractmethod
    def log_base(self, x: Array) -> Array:
        """log h(x). [..., D] -> [...]."""

    def log_prob(self, x: Array, natural: Array) -> Array:
        """log p(x_b; η_s), nats, of all pairs. [B, D], [S, N] -> [B, S].

        Raises:
          UsageError: ν(x) and η differ in length.

        >>> jax.device_get(BernoulliFamily().log_prob(jnp.array([[1.0]]), jnp.array([[0.0], [1.0]]))).round(3)
        array([[-0.693, -0.313]], dtype=float32)
        """
        statistics = self.statistics(x)
        if statistics.ndim != 2 or natural.ndim != 2 or statistics.shape[1] != natural.shape[1]:
            raise UsageError(
                f"x has statistics of the shape {statistics.shape} and natural has the shape "
                f"{natural.shape}: give x [B, D] and natural [S, N] with one parameter for each statistic."
            )
        linear = jnp.matmul(statistics, natural.T, precision=jax.lax.Precision.HIGHEST)
        return linear - self.log_partition(natural) + self.log_base(x)[:, None]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class BernoulliFamily(Family):
    """Independent bits: ν(x) = x, A(η) = Σ softplus(η), h = 1. η are logits. Other values of x are refused."""

    def statistics(self, x: Array) -> Array:
        _check_values(x, 2, "BernoulliFamily has bits: binarise the data.")
        return x

    def log_partition(self, natural: Array) -> Array:
        return jnp.sum(jax.nn.softplus(natural), axis=-1)

    def log_base(self, x: Array) -> Array:
        return jnp.zeros(x.shape[:-1], x.dtype)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class GaussianFamily(Family):
    """N(μ, σ²I) with one σ² for all states: ν(x) = x, η = μ/σ², A(η) = σ²‖η‖²/2, h = N(x; 0, σ²I).

    σ² may be a learned array.

    >>> family = GaussianFamily(0.25)
    >>> jax.device_get(family.log_prob(jnp.array([[1.0]]), family.natural(jnp.array([[1.0]])))).round(3)
    array([[-0.226]], dtype=float32)
    """

    variance: float | Array = 1.0
    """Variance σ² of each coordinate of x."""

    def natural(self, mean: Array) -> Array:
        """μ/σ²."""
        return mean / self.variance

    def mean(self, natural: Array) -> Array:
        """σ²η."""
        return self.variance * natural

    def statistics(self, x: Array) -> Array:
        return x

    def log_partition(self, natural: Array) -> Array:
        return 0.5 * self.variance * jnp.sum(natural**2, axis=-1)

    def log_base(self, x: Array) -> Array:
        constant = jnp.log(2 * jnp.pi * jnp.asarray(self.variance, x.dtype))
        return -0.5 * (jnp.sum(x**2, axis=-1) / self.variance + x.shape[-1] * constant)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class CategoricalFamily(Family):
    """Independent classes 0, ..., V − 1: ν(x) = one-hot without class 0, η = V − 1 logits for each coordinate, h = 1.

    The logits are those relative to class 0. With V logits ν would be linearly dependent, and η not unique. Other values
    of x are refused.

    >>> family = CategoricalFamily(3)
    >>> natural = family.natural(jnp.log(jnp.array([[[0.2, 0.3, 0.5]]])))
    >>> jax.device_get(jnp.exp(family.log_prob(jnp.array([[2]]), natural))).round(3)
    array([[0.5]], dtype=float32)
    """

    num_classes: int = dataclasses.field(metadata={"static": True})
    """Number of classes V, at least 2."""

    def __post_init__(self) -> None:
        if self.num_classes < 2:
            raise UsageError(f"num_classes must be at least 2, got {self.num_classes}.")

    def natural(self, logits: Array) -> Array:
        """Logits of all classes without those of class 0. [..., D, V] -> [..., D (V − 1)]."""
        relative = logits[..., 1:] - logits[..., :1]
        return relative.reshape(*logits.shape[:-2], -1)

    def statistics(self, x: Array) -> Array:
        highest = self.num_classes - 1
        _check_values(
            x,
            self.num_classes,
            f"CategoricalFamily({self.num_classes}) has the classes 0 to {highest}: number the classes from "
            "0, or increase num_classes.",
        )
        return jax.nn.one_hot(x - 1, self.num_classes - 1).reshape(*x.shape[:-1], -1)

    def log_partition(self, natural: Array) -> Array:
        logits = natural.reshape(*natural.shape[:-1], -1, self.num_classes - 1)
        zero = jnp.zeros((*logits.shape[:-1], 1), logits.dtype)
        return jnp.sum(jax.nn.logsumexp(jnp.concatenate([zero, logits], axis=-1), axis=-1), axis=-1)

    def log_base(self, x: Array) -> Array:
        return jnp.zeros(x.shape[:-1])


def _check_values(x: Array, num_values: int, remedy: str) -> None:
    """Raises one sentence if a value is not among 0, ..., num_values − 1. Traced values pass."""
    if isinstance(x, jax.core.Tracer):
        return
    values = np.asarray(x)
    wrong = ~np.isin(values, np.arange(num_values))
    if wrong.any():
        example = int(np.argwhere(wrong)[0][0])
        raise UsageError(f"x holds {values[wrong][0]:g} in example {example}, and {remedy}")
