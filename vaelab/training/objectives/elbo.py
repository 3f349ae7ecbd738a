"""The negative ELBO, with a weight of the rate, warm-up and free bits for each level."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax.numpy as jnp

from vaelab import losses
from vaelab.checks import UsageError
from vaelab.training.objectives.base import metrics
from vaelab.training.objectives.level_weights import WeightedRates, for_levels, values_of
from vaelab.types import Array, Terms


@dataclasses.dataclass(frozen=True)
class ELBO(WeightedRates):
    """Negative ELBO or β-VAE objective, E[distortion + Σ_l β_l · rate_l], with warm-up and free bits.

    `beta`, `warmup_steps` and `free_nats` are one number for all levels, or a tuple with one number for
    each level. A warm-up may be longer than the run: a shortened run then equals the start of a long run.
    """

    per_level: ClassVar[tuple[str, ...]] = ("beta", "warmup_steps", "free_nats")
    free_nats: float | tuple[float, ...] = 0.0
    """Nats per latent coordinate that are free of cost. A number above 0 needs a prior with a closed-form KL."""
    closed_form: bool = True
    """True computes the rate in closed form if the prior has one. False estimates the rate from samples."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.closed_form and self._has_free_nats:
            raise UsageError(
                f"free_nats = {self.free_nats} needs the closed-form KL: leave closed_form True."
            )

    def __call__(self, model, multipliers, examples, key, step):
        del multipliers
        terms = model(examples.x, key, self.num_samples, context=examples.context)
        betas = self.betas(step, len(terms.rate))
        if self._has_free_nats:
            loss = jnp.mean(terms.distortion) + self._rate_above_free_nats(terms, betas)
        else:
            loss = -self.weighted_bound(terms, betas, closed_form=self.closed_form)
        return loss, metrics(loss, terms, examples)

    def distortion_weight(self, step):
        return None if self._has_free_nats else super().distortion_weight(step)

    def describe(self, multipliers, step):
        if not self._has_free_nats:
            return super().describe(multipliers, step)
        free = ", ".join(f"{nats:g}" for nats in values_of(self.free_nats))
        weight = self.shown_betas(step)[1]
        return f"distortion + {weight} · rate with {free} free nats per latent coordinate"

    @property
    def _has_free_nats(self) -> bool:
        return any(not isinstance(n, int | float) or n > 0 for n in values_of(self.free_nats))

    def _rate_above_free_nats(self, terms: Terms, betas: tuple[Array, ...]) -> Array:
        total = jnp.zeros([])
        free_nats = for_levels(self.free_nats, len(terms.kl))
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
