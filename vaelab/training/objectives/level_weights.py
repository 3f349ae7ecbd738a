"""Weights of the rates: a β and a warm-up for each level. The ELBO and DisARM share them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar, TypeVar

import jax.numpy as jnp

from vaelab import losses
from vaelab.checks import UsageError, check_at_least_one, check_not_negative, counted
from vaelab.constraints import Constraint
from vaelab.models import Model
from vaelab.training.objectives.base import Objective, level_rates
from vaelab.types import Array, Examples, Terms

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class WeightedRates(Objective):
    """E[distortion + Σ_l β_l · rate_l] with warm-up: the settings, and what follows from them.

    Each setting in `per_level` is one number for all levels, or a tuple with one number for each level. A
    warm-up may be longer than the run: a shortened run then equals the start of a long run.
    """

    constraints: ClassVar[Mapping[str, Constraint]] = {}  # type: ignore[misc]
    per_level: ClassVar[tuple[str, ...]] = ("beta", "warmup_steps")
    """Names of the fields that may hold a number for each level."""
    num_samples: int = 1
    """Posterior samples per example."""
    beta: float | tuple[float, ...] = 1.0
    """Weight β of the rate after the warm-up."""
    warmup_steps: int | tuple[int, ...] = 0
    """Number of steps in which the weight of the rate increases linearly from 0 to β."""

    def __post_init__(self) -> None:
        check_at_least_one(num_samples=self.num_samples)
        for name in self.per_level:
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))
            for number in values_of(getattr(self, name)):
                check_not_negative(**{name: number})

    def check(self, model: Model, num_steps: int) -> None:
        num_levels = model.depth
        for name in self.per_level:
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != num_levels:
                raise UsageError(
                    f"objective.{name} = {value} has {counted(len(value), 'number')}, and the model has "
                    f"{counted(num_levels, 'level')}: give one number for each level, or one for all."
                )

    def weighted_bound(self, terms: Terms, betas: tuple[Array, ...], *, closed_form: bool) -> Array:
        """−E[distortion + Σ_l β_l · rate_l], []."""
        pairs = zip(betas, level_rates(terms, closed_form=closed_form), strict=True)
        weighted = sum((beta * rate for beta, rate in pairs), start=jnp.zeros([]))
        return jnp.mean(losses.elbo(terms.distortion, weighted))

    @property
    def label(self):
        return "ELBO" if set(values_of(self.beta)) == {1.0} else "β-VAE"

    @property
    def settling_steps(self):
        return max(values_of(self.warmup_steps))

    @property
    def validation(self):
        """The ELBO with the final β and without free nats. With the β of the warm-up, early steps would win."""
        return FinalBound(self.beta)

    def distortion_weight(self, step):
        num_levels = max(len(values_of(self.beta)), len(values_of(self.warmup_steps)))
        weights = {float(beta) for beta in self.betas(step, num_levels)}
        beta = weights.pop()
        return 1 / beta if beta and not weights else None

    def betas(self, step: Array | int, num_levels: int) -> tuple[Array, ...]:
        """The weight of the rate of each level at a step."""
        pairs = zip(
            for_levels(self.beta, num_levels),
            for_levels(self.warmup_steps, num_levels),
            strict=True,
        )
        return tuple(
            beta * jnp.minimum(step / warmup, 1.0) if warmup else jnp.asarray(beta)
            for beta, warmup in pairs
        )

    def describe(self, multipliers, step):
        del multipliers
        betas, weight = self.shown_betas(step)
        if set(betas) == {1.0}:
            return "the negative ELBO"
        return f"distortion + {weight} · rate" + (
            ", an upper bound on the negative ELBO"
            if min(betas) >= 1
            else ", which is no bound on the negative log-likelihood"
        )

    def shown_betas(self, step: int) -> tuple[list[float], str]:
        """The weights of the rates at a step, and the same for a sentence: one number if all are equal."""
        num_levels = max(len(values_of(getattr(self, name))) for name in self.per_level)
        betas = [float(beta) for beta in self.betas(step, num_levels)]
        equal = len(set(betas)) == 1
        return betas, f"{betas[0]:g}" if equal else f"({', '.join(f'{b:g}' for b in betas)})"


@dataclasses.dataclass(frozen=True)
class FinalBound:
    """distortion + Σ_l β_l rate_l with its sign changed, [K, B], nats: equal for equal β."""

    beta: float | tuple[float, ...]

    def __call__(self, examples: Examples, terms: Terms) -> Array:
        del examples
        pairs = zip(for_levels(self.beta, len(terms.rate)), terms.rate, strict=True)
        return -(terms.distortion + sum(beta * rate for beta, rate in pairs))


def values_of(value: T | tuple[T, ...]) -> tuple[T, ...]:
    """The numbers of a setting, as a tuple.

    >>> values_of(1.0), values_of((1.0, 2.0))
    ((1.0,), (1.0, 2.0))
    """
    return value if isinstance(value, tuple) else (value,)


def for_levels(value: T | tuple[T, ...], num_levels: int) -> tuple[T, ...]:
    """The number of each level.

    >>> for_levels(1.0, 2)
    (1.0, 1.0)
    """
    return value if isinstance(value, tuple) else (value,) * num_levels
