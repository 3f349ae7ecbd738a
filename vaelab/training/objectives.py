"""What a training step minimises: each objective is a value that maps a model's terms to a loss.

`objective(terms_fn, multipliers, x, key, step) -> (loss [], metrics {name: []})`, where
`terms_fn(key, num_samples, weights=None) -> Terms` runs the model on x. Every objective reports the
same metrics, so curves of different objectives can be laid over each other.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Mapping
from typing import ClassVar

import jax.numpy as jnp

from vaelab import losses
from vaelab.constraints import NLL, Constraint
from vaelab.types import Array, PRNGKey, Terms

TermsFn = Callable[..., Terms]


class Objective(abc.ABC):
    """What the training step asks of an objective; each is a frozen dataclass."""

    constraints: Mapping[str, Constraint]

    @abc.abstractmethod
    def __call__(
        self,
        terms_fn: TermsFn,
        multipliers: Mapping[str, Array],
        x: Array,
        key: PRNGKey,
        step: Array,
    ) -> tuple[Array, dict[str, Array]]:
        """(loss [], metrics {name: []}) of a batch x [B, ...]."""

    @property
    def validation_samples(self) -> int:
        """Posterior samples per example that `validation` wants."""
        return 1

    def validation(self, x: Array, terms: Terms) -> Array:
        """What early stopping maximises, [K, B] or [1, B]: the ELBO, whatever λ is."""
        del x
        return terms.log_weights

    @abc.abstractmethod
    def describe(self, multipliers: Mapping[str, float], step: int) -> str:
        """One clause: what was minimised at that step, for reports."""


@dataclasses.dataclass(frozen=True)
class ELBO(Objective):
    """Negative ELBO or β-VAE objective, E[distortion + β·rate], with warm-up and free bits."""

    constraints: ClassVar[Mapping[str, Constraint]] = {}  # type: ignore[misc]
    num_samples: int = 1
    """posterior samples per example"""
    beta: float = 1.0
    """weight of the rate at the end of the warm-up"""
    warmup_steps: int = 0
    """steps over which the weight of the rate rises linearly from 0 to beta"""
    free_nats: float = 0.0
    """nats per latent coordinate that cost nothing; needs a prior with a closed-form KL"""
    closed_form: bool = True
    """take the rate's closed form where the prior has one; otherwise its samples, as with other priors"""

    def __post_init__(self) -> None:
        _check_positive("num_samples", self.num_samples)
        for name in ("beta", "warmup_steps", "free_nats"):
            value = getattr(self, name)
            if isinstance(value, int | float) and value < 0:
                raise ValueError(f"{name} must not be negative, got {value}.")

    def __call__(self, terms_fn, multipliers, x, key, step):
        del multipliers, x
        beta = self._beta(step)
        terms = terms_fn(key, self.num_samples)
        closed_form = all(kl is not None for kl in terms.kl)
        if self.free_nats and not closed_form:
            raise ValueError(
                f"free_nats = {self.free_nats} needs a closed-form KL, which this prior lacks: set "
                "free_nats to 0 or use the standard normal prior."
            )
        if self.free_nats:
            rate = sum(losses.free_bits(kl, free_nats=self.free_nats) for kl in terms.kl)
            loss = jnp.mean(terms.distortion) + beta * rate
        elif closed_form and self.closed_form:
            kl = jnp.concatenate(terms.kl, axis=-1)
            loss = -jnp.mean(losses.elbo_closed_form(terms.distortion, kl, beta=beta))
        else:
            loss = -jnp.mean(losses.elbo(terms.distortion, terms.total_rate, beta=beta))
        return loss, _metrics(loss, terms)

    def validation(self, x, terms):
        """The β-ELBO with the final β (free nats left out): a warm-up must not win by its own β."""
        del x
        return -(terms.distortion + self.beta * terms.total_rate)

    def _beta(self, step) -> Array:
        """The weight of the rate at a step of the warm-up."""
        if not self.warmup_steps:
            return jnp.asarray(self.beta)
        return self.beta * jnp.minimum(step / self.warmup_steps, 1.0)

    def describe(self, multipliers, step):
        del multipliers
        beta = float(self._beta(step))
        if self.free_nats:
            return f"distortion + {beta:g} · rate with {self.free_nats:g} free nats per latent coordinate"
        if beta == 1.0:
            return "the negative ELBO"
        return f"distortion + {beta:g} · rate" + (
            ", an upper bound on the negative ELBO"
            if beta > 1
            else ", which is no bound on the negative log-likelihood"
        )


@dataclasses.dataclass(frozen=True)
class ImportanceWeighted(Objective):
    """Negative importance-weighted bound with its naive gradient. Burda et al., 2016."""

    constraints: ClassVar[Mapping[str, Constraint]] = {}  # type: ignore[misc]
    num_samples: int = 50
    """posterior samples per example, K"""

    def __post_init__(self) -> None:
        _check_positive("num_samples", self.num_samples)

    def __call__(self, terms_fn, multipliers, x, key, step):
        del multipliers, step
        terms = self.terms(terms_fn, x, key)
        loss = -jnp.mean(losses.importance_weighted_bound(terms.log_weights))
        return loss, _metrics(loss, terms)

    @property
    def validation_samples(self):
        return self.num_samples

    def validation(self, x, terms):
        """The importance-weighted bound itself."""
        del x
        return losses.importance_weighted_bound(terms.log_weights)[None]

    def terms(self, terms_fn: TermsFn, x: Array, key: PRNGKey) -> Terms:
        """The model's terms, with the gradient estimator's stop-gradients inside."""
        del x
        return terms_fn(key, self.num_samples)

    def describe(self, multipliers, step):
        del multipliers
        return f"the negative importance-weighted bound with {self.num_samples} samples"


@dataclasses.dataclass(frozen=True)
class StickingTheLanding(ImportanceWeighted):
    """As ImportanceWeighted, without the score of log q: biased above one sample. Roeder et al., 2017."""

    def terms(self, terms_fn, x, key):
        return terms_fn(key, self.num_samples, weights=jnp.ones((self.num_samples, x.shape[0])))


@dataclasses.dataclass(frozen=True)
class DoublyReparameterised(ImportanceWeighted):
    """As ImportanceWeighted, with the DReG gradient: unbiased, low variance. Tucker et al., 2019."""

    def terms(self, terms_fn, x, key):
        del x
        weights = losses.normalised_weights(terms_fn(key, self.num_samples).log_weights)
        return terms_fn(key, self.num_samples, weights=weights)


@dataclasses.dataclass(frozen=True)
class Lagrangian(Objective):
    """Rate under constraints, E[rate] + Σ_j λ_j E[C_j]. Rezende & Viola, 2018."""

    constraints: dict[str, Constraint]
    """what the model must meet, by name, each with its own multiplier and moving average"""
    num_samples: int = 1
    """posterior samples per example"""

    def __post_init__(self) -> None:
        _check_positive("num_samples", self.num_samples)
        if not self.constraints:
            raise ValueError("constraints must name at least one; without any, use ELBO.")

    def __call__(self, terms_fn, multipliers, x, key, step):
        del step
        terms = terms_fn(key, self.num_samples)
        values = {name: constraint(x, terms) for name, constraint in self.constraints.items()}
        loss = jnp.mean(losses.lagrangian(terms.total_rate, values, multipliers))
        metrics = {f"constraint/{name}": jnp.mean(value) for name, value in values.items()}
        return loss, _metrics(loss, terms) | metrics

    def describe(self, multipliers, step):
        weighted = " + ".join(f"{multipliers[name]:.4g} · {name}" for name in self.constraints)
        text = f"the Lagrangian rate + {weighted}"
        if [type(constraint) for constraint in self.constraints.values()] != [NLL]:
            return text
        (multiplier,) = multipliers.values()
        if abs(multiplier - 1.0) <= 1e-3:
            return text + ", at multiplier 1 the negative ELBO up to a constant"
        if multiplier < 1.0:
            return text + ", a scaled bound on the negative ELBO up to a constant (multiplier < 1)"
        return text + ", no bound on the negative log-likelihood (multiplier > 1)"


def _metrics(loss: Array, terms: Terms) -> dict[str, Array]:
    rate, distortion = jnp.mean(terms.total_rate), jnp.mean(terms.distortion)
    return {"loss": loss, "elbo": -(rate + distortion), "rate": rate, "distortion": distortion}


def _check_positive(name: str, value) -> None:
    if isinstance(value, int) and value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}.")
