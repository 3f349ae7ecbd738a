"""The negative ELBO, with a weight of the rate, warm-up and free bits for each level."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar, TypeVar

import jax.numpy as jnp

from vaelab import losses
from vaelab.checks import UsageError, check_at_least_one, check_not_negative
from vaelab.constraints import Constraint
from vaelab.models import Model
from vaelab.training.objectives.base import Objective, level_rates, metrics
from vaelab.types import Array, Examples, Terms

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class ELBO(Objective):
    """Negative ELBO or β-VAE objective, E[distortion + Σ_l β_l · rate_l], with warm-up and free bits.

    `beta`, `warmup_steps` and `free_nats` are one number for all levels, or a tuple with one number for
    each level. A warm-up may be longer than the run: a shortened run then equals the start of a long run.
    """

    constraints: ClassVar[Mapping[str, Constraint]] = {}  # type: ignore[misc]
    num_samples: int = 1
    """Posterior samples per example."""
    beta: float | tuple[float, ...] = 1.0
    """Weight β of the rate after the warm-up."""
    warmup_steps: int | tuple[int, ...] = 0
    """Number of steps in which the weight of the rate increases linearly from 0 to β."""
    free_nats: float | tuple[float, ...] = 0.0
    """Nats per latent coordinate that are free of cost. A number above 0 needs a prior with a closed-form KL."""
    closed_form: bool = True
    """True computes the rate in closed form if the prior has one. False estimates the rate from samples."""

    def __post_init__(self) -> None:
        check_at_least_one(num_samples=self.num_samples)
        for name in _PER_LEVEL:
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))
            for number in _values(getattr(self, name)):
                check_not_negative(**{name: number})
        if not self.closed_form and self._has_free_nats:
            raise UsageError(
                f"free_nats = {self.free_nats} needs the closed-form KL: leave closed_form True."
            )

    def check(self, model: Model, num_steps: int) -> None:
        num_levels = len(model.latent_dims)
        for name in _PER_LEVEL:
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != num_levels:
                raise UsageError(
                    f"objective.{name} = {value} has {len(value)} numbers, and the model has "
                    f"{num_levels} level(s): give one number for each level, or one for all."
                )

    def __call__(self, model, multipliers, examples, key, step):
        del multipliers
        terms = model(examples.x, key, self.num_samples, context=examples.context)
        betas = self.betas(step, len(terms.rate))
        if self._has_free_nats:
            rate = self._rate_above_free_nats(terms, betas)
            loss = jnp.mean(terms.distortion) + rate
        else:
            pairs = zip(betas, level_rates(terms, closed_form=self.closed_form), strict=True)
            weighted = sum((beta * rate for beta, rate in pairs), start=jnp.zeros([]))
            loss = -jnp.mean(losses.elbo(terms.distortion, weighted))
        return loss, metrics(loss, terms, examples)

    @property
    def label(self):
        return "ELBO" if set(_values(self.beta)) == {1.0} else "β-VAE"

    @property
    def settling_steps(self):
        return max(_values(self.warmup_steps))

    @property
    def validation(self):
        """The ELBO with the final β and without free nats. With the β of the warm-up, early steps would win."""
        return FinalBound(self.beta)

    def distortion_weight(self, step):
        if self._has_free_nats:
            return None
        num_levels = max(len(_values(self.beta)), len(_values(self.warmup_steps)))
        weights = {float(beta) for beta in self.betas(step, num_levels)}
        beta = weights.pop()
        return 1 / beta if beta and not weights else None

    def betas(self, step: Array | int, num_levels: int) -> tuple[Array, ...]:
        """The weight of the rate of each level at a step."""
        pairs = zip(
            _per_level(self.beta, num_levels),
            _per_level(self.warmup_steps, num_levels),
            strict=True,
        )
        return tuple(
            beta * jnp.minimum(step / warmup, 1.0) if warmup else jnp.asarray(beta)
            for beta, warmup in pairs
        )

    def describe(self, multipliers, step):
        del multipliers
        num_levels = max(len(_values(getattr(self, name))) for name in _PER_LEVEL)
        betas = [float(beta) for beta in self.betas(step, num_levels)]
        beta = betas[0]
        weight = f"{beta:g}" if len(set(betas)) == 1 else f"({', '.join(f'{b:g}' for b in betas)})"
        if self._has_free_nats:
            free = ", ".join(f"{nats:g}" for nats in _values(self.free_nats))
            return f"distortion + {weight} · rate with {free} free nats per latent coordinate"
        if set(betas) == {1.0}:
            return "the negative ELBO"
        return f"distortion + {weight} · rate" + (
            ", an upper bound on the negative ELBO"
            if min(betas) >= 1
            else ", which is no bound on the negative log-likelihood"
        )

    @property
    def _has_free_nats(self) -> bool:
        return any(not isinstance(n, int | float) or n > 0 for n in _values(self.free_nats))

    def _rate_above_free_nats(self, terms: Terms, betas: tuple[Array, ...]) -> Array:
        total = jnp.zeros([])
        free_nats = _per_level(self.free_nats, len(terms.kl))
        for kl, rate, beta, free in zip(terms.kl, terms.rate, betas, free_nats, strict=True):
            if kl is not None:
                total += beta * losses.free_bits(kl, free_nats=free)
            elif isinstance(free, int | float) and free == 0:
                total += beta * jnp.mean(rate)
            else:
                raise UsageError(
                    f"free_nats = {self.free_nats} needs a closed-form KL, which this prior lacks: "
                    "set free_nats to 0 or use the standard normal prior."
                )
        return total


_PER_LEVEL = ("beta", "warmup_steps", "free_nats")


@dataclasses.dataclass(frozen=True)
class FinalBound:
    """distortion + Σ_l β_l rate_l with its sign changed, [K, B], nats: equal for equal β."""

    beta: float | tuple[float, ...]

    def __call__(self, examples: Examples, terms: Terms) -> Array:
        del examples
        pairs = zip(_per_level(self.beta, len(terms.rate)), terms.rate, strict=True)
        return -(terms.distortion + sum(beta * rate for beta, rate in pairs))


def _values(value: T | tuple[T, ...]) -> tuple[T, ...]:
    return value if isinstance(value, tuple) else (value,)


def _per_level(value: T | tuple[T, ...], num_levels: int) -> tuple[T, ...]:
    return value if isinstance(value, tuple) else (value,) * num_levels
