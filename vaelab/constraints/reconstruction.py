"""Bounds on the reconstruction error and on the negative log-likelihood."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, ClassVar

import jax.numpy as jnp

from vaelab.checks import UsageError, check_equal
from vaelab.constraints.base import Constraint, check_kappa
from vaelab.types import Array, Examples, Terms


def reconstruction_error(x: Array, mean: Array, *, kappa: float | Array) -> Array:
    """RE: Σ_d (x_d − g_d)² − D κ². [B, ...], [K, B, ...] -> [K, B], in squared data units.

    κ is the tolerated root-mean-square error per dimension. With features f(x) and f(g) in the place of
    x and g it is the FRE. Rezende & Viola, 2018, table 1.

    >>> reconstruction_error(jnp.ones((1, 4)), jnp.zeros((1, 1, 4)), kappa=0.5)
    Array([[3.]], dtype=float32...)
    """
    check_equal(shape_of_x=x.shape, shape_of_each_mean=mean.shape[1:])
    squared_error = jnp.sum((x - mean) ** 2, axis=tuple(range(2, mean.ndim)))
    return squared_error - math.prod(x.shape[1:]) * kappa**2


def negative_log_likelihood(distortion: Array, *, kappa: float | Array, num_dims: int) -> Array:
    """NLL: −log p(x|z) − D κ. [K, B] -> [K, B], nats.

    κ is in nats per dimension and may be negative for continuous data.

    >>> negative_log_likelihood(jnp.array([[10.0]]), kappa=0.25, num_dims=20)
    Array([[5.]], dtype=float32...)
    """
    return distortion - num_dims * kappa


@dataclasses.dataclass(frozen=True)
class RE(Constraint):
    """Reconstruction error ‖x − g(z)‖² ≤ D κ². Examples may have any shape."""

    kappa: float
    """Tolerated root-mean-square error per data dimension, in data units."""

    quantity: ClassVar[str] = "RMSE per dimension"

    def __post_init__(self) -> None:
        check_kappa(
            self,
            lambda kappa: 0 < kappa < math.inf,
            "positive and finite (it is a root-mean-square error)",
        )

    def __call__(self, examples: Examples, terms: Terms) -> Array:
        return reconstruction_error(examples.x, terms.likelihood.mean(), kappa=self.kappa)

    def num_dims(self, shape: Sequence[int]) -> float:
        """D, the number of squared errors that C sums over, for examples of this shape."""
        return float(math.prod(shape))

    def divisor(self, shape: Sequence[int]) -> float:
        """D κ², so that C / divisor is (error / κ)² − 1.

        >>> RE(kappa=0.5).divisor((28, 28, 1))
        196.0
        """
        return self.num_dims(shape) * self.kappa**2

    def achieved(self, mean: float, shape: Sequence[int]) -> float:
        return math.sqrt(max(mean / self.num_dims(shape) + self.kappa**2, 0.0))


@dataclasses.dataclass(frozen=True)
class NLL(Constraint):
    """Negative log-likelihood −log p(x|z) ≤ D κ. Examples may have any shape."""

    kappa: float
    """Tolerated negative log-likelihood in nats per data dimension."""

    in_nats: ClassVar[bool] = True
    quantity: ClassVar[str] = "NLL, nats per dimension"

    def __post_init__(self) -> None:
        check_kappa(self, math.isfinite, "finite")

    def __call__(self, examples: Examples, terms: Terms) -> Array:
        num_dims = math.prod(examples.x.shape[1:])
        return negative_log_likelihood(terms.distortion, kappa=self.kappa, num_dims=num_dims)

    def divisor(self, shape: Sequence[int]) -> float:
        """D, not D κ, because κ may be 0 or negative: C / divisor is in nats per dimension.

        >>> NLL(kappa=-0.2).divisor((28, 28, 1))
        784.0
        """
        return float(math.prod(shape))

    def achieved(self, mean: float, shape: Sequence[int]) -> float:
        return mean / self.divisor(shape) + self.kappa

    def interpolation_axis(self, values: Any) -> Any:
        return values  # nats are a logarithm already, and may be negative

    def check(self, train: Examples, num_levels: int | None = None) -> None:
        del train
        if num_levels is None:
            return
        if not self.kappa > 0:
            raise UsageError(
                f"kappa = {self.kappa} can never be met: a discrete likelihood's NLL is positive; choose "
                "a kappa above 0."
            )
        uniform = math.log(num_levels)
        if self.kappa >= uniform:
            raise UsageError(
                f"kappa = {self.kappa} constrains nothing: a decoder that ignores the data "
                f"has log {num_levels} = {uniform:.3f} nats per dimension; choose a kappa below that."
            )
