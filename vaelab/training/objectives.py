"""What a training step minimises: each objective is a value that maps a model's terms to a loss.

`objective(terms_fn, multipliers, examples, key, step) -> (loss [], metrics {name: []})`, where
`terms_fn(key, num_samples, weights=None) -> Terms` runs the model on the examples. Every objective reports the
same metrics, so curves of different objectives can be laid over each other.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar

import jax.numpy as jnp

from vaelab import losses
from vaelab.checks import check_at_least_one, check_positive
from vaelab.constraints import Constraint
from vaelab.types import Array, Examples, PRNGKey, Terms

TermsFn = Callable[..., Terms]


class Objective(abc.ABC):
    """What the training step asks of an objective; each is a frozen dataclass."""

    constraints: Mapping[str, Constraint]
    num_samples: int
    """posterior samples per example"""

    @abc.abstractmethod
    def __call__(
        self,
        terms_fn: TermsFn,
        multipliers: Mapping[str, Array],
        examples: Examples,
        key: PRNGKey,
        step: Array,
    ) -> tuple[Array, dict[str, Array]]:
        """(loss [], metrics {name: []}) of a batch of examples."""

    @property
    @abc.abstractmethod
    def label(self) -> str:
        """What it is called in pictures."""

    @property
    def settling_steps(self) -> int:
        """Steps at the start whose evaluations do not wear patience out."""
        return 0

    @property
    def validation_samples(self) -> int:
        """Posterior samples per example that `validation` wants."""
        return 1

    def validation(self, examples: Examples, terms: Terms) -> Array:
        """What early stopping maximises, [K, B] or [1, B]: the ELBO, whatever λ is."""
        del examples
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
        check_at_least_one(num_samples=self.num_samples)
        for name in ("beta", "warmup_steps", "free_nats"):
            value = getattr(self, name)
            if isinstance(value, int | float) and value < 0:
                raise ValueError(f"{name} must not be negative, got {value}.")
        if not self.closed_form and isinstance(self.free_nats, int | float) and self.free_nats > 0:
            raise ValueError(
                f"free_nats = {self.free_nats} needs the closed-form KL: leave closed_form True."
            )

    def __call__(self, terms_fn, multipliers, examples, key, step):
        del multipliers
        beta = self._beta(step)
        terms = terms_fn(key, self.num_samples)
        if self.free_nats:
            if any(kl is None for kl in terms.kl):
                raise ValueError(
                    f"free_nats = {self.free_nats} needs a closed-form KL, which this prior lacks: "
                    "set free_nats to 0 or use the standard normal prior."
                )
            rate = sum(losses.free_bits(kl, free_nats=self.free_nats) for kl in terms.kl)
            loss = jnp.mean(terms.distortion) + beta * rate
        else:
            rate = _rate(terms, closed_form=self.closed_form)
            loss = -jnp.mean(losses.elbo(terms.distortion, rate, beta=beta))
        return loss, _metrics(loss, terms, examples)

    @property
    def label(self):
        return "ELBO" if self.beta == 1.0 else "β-VAE"

    @property
    def settling_steps(self):
        return self.warmup_steps

    def validation(self, examples, terms):
        """The β-ELBO with the final β (free nats left out): a warm-up must not win by its own β."""
        del examples
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
class AnnealedVariance(Objective):
    """Negative ELBO whose likelihood starts out σ₀/σ₁ times too wide: E[rate + distortion · (σ₁/σ)²].

    σ falls linearly from σ₀ to σ₁ over `anneal_steps`: for a Gaussian decoder of scale σ₁, the gradient
    is that of its ELBO at scale σ. With 2.0, 0.7 and 200,000 steps it is the schedule of Eslami et al.,
    2018, appendix; here its length is to be set to the run's. The baseline that Rezende & Viola, 2018,
    argue against.
    """

    constraints: ClassVar[Mapping[str, Constraint]] = {}  # type: ignore[misc]
    anneal_steps: int
    """steps over which σ falls"""
    initial_scale: float = 2.0
    """σ₀, at the start"""
    final_scale: float = 0.7
    """σ₁, at the end: the scale of the model's Gaussian decoder, of which only σ₀/σ₁ counts"""
    num_samples: int = 1
    """posterior samples per example"""

    def __post_init__(self) -> None:
        check_at_least_one(num_samples=self.num_samples, anneal_steps=self.anneal_steps)
        check_positive(initial_scale=self.initial_scale, final_scale=self.final_scale)

    def __call__(self, terms_fn, multipliers, examples, key, step):
        del multipliers
        terms = terms_fn(key, self.num_samples)
        rate = _rate(terms, closed_form=True)
        loss = -jnp.mean(losses.elbo(terms.distortion * self.precision(step), rate))
        return loss, _metrics(loss, terms, examples)

    @property
    def label(self):
        return "ELBO, annealed"

    @property
    def settling_steps(self):
        return self.anneal_steps

    def precision(self, step) -> Array:
        """(σ₁/σ)² at a step."""
        done = jnp.minimum(step / self.anneal_steps, 1.0)
        scale = self.initial_scale * (1 - done) + self.final_scale * done  # in the end exactly σ₁
        return (self.final_scale / scale) ** 2

    def describe(self, multipliers, step):
        del multipliers
        precision = float(self.precision(step))
        if precision == 1.0:
            return "the negative ELBO, at the end of the annealing"
        return f"rate + {precision:.4g} · distortion, still annealing"


@dataclasses.dataclass(frozen=True)
class ImportanceWeighted(Objective):
    """Negative importance-weighted bound with its naive gradient. Burda et al., 2016."""

    constraints: ClassVar[Mapping[str, Constraint]] = {}  # type: ignore[misc]
    num_samples: int = 50
    """posterior samples per example, K"""

    def __post_init__(self) -> None:
        check_at_least_one(num_samples=self.num_samples)

    def __call__(self, terms_fn, multipliers, examples, key, step):
        del multipliers, step
        terms = self.terms(terms_fn, examples, key)
        loss = -jnp.mean(losses.importance_weighted_bound(terms.log_weights))
        return loss, _metrics(loss, terms, examples)

    @property
    def label(self):
        return "IWAE"

    @property
    def validation_samples(self):
        return self.num_samples

    def validation(self, examples, terms):
        """The importance-weighted bound itself."""
        del examples
        return losses.importance_weighted_bound(terms.log_weights)[None]

    def terms(self, terms_fn: TermsFn, examples: Examples, key: PRNGKey) -> Terms:
        """The model's terms, with the gradient estimator's stop-gradients inside."""
        del examples
        return terms_fn(key, self.num_samples)

    def describe(self, multipliers, step):
        del multipliers
        return f"the negative importance-weighted bound with {self.num_samples} samples"


@dataclasses.dataclass(frozen=True)
class StickingTheLanding(ImportanceWeighted):
    """As ImportanceWeighted, without the score of log q: biased above one sample. Roeder et al., 2017."""

    @property
    def label(self):
        return "IWAE, STL"

    def terms(self, terms_fn, examples, key):
        return terms_fn(
            key, self.num_samples, weights=jnp.ones((self.num_samples, len(examples.x)))
        )


@dataclasses.dataclass(frozen=True)
class DoublyReparameterised(ImportanceWeighted):
    """As ImportanceWeighted, with the DReG gradient: unbiased, low variance. Tucker et al., 2019."""

    @property
    def label(self):
        return "IWAE, DReG"

    def terms(self, terms_fn, examples, key):
        del examples
        weights = losses.normalised_weights(terms_fn(key, self.num_samples).log_weights)
        return terms_fn(key, self.num_samples, weights=weights)


@dataclasses.dataclass(frozen=True)
class Lagrangian(Objective):
    """Rate under constraints, E[rate] + Σ_j λ_j E[C_j]. Rezende & Viola, 2018."""

    constraints: dict[str, Constraint]
    """what the model must meet, by name (or as pairs), each with a multiplier and moving average"""
    num_samples: int = 1
    """posterior samples per example"""
    closed_form: bool = True
    """take the rate's closed form where the prior has one"""

    def __post_init__(self) -> None:
        check_at_least_one(num_samples=self.num_samples)
        object.__setattr__(self, "constraints", _by_name(self.constraints))
        if not self.constraints:
            raise ValueError("constraints must name at least one; without any, use ELBO.")

    @property
    def label(self):
        return "Lagrangian"

    def __call__(self, terms_fn, multipliers, examples, key, step):
        del step
        terms = terms_fn(key, self.num_samples)
        values = {
            name: constraint(examples, terms) for name, constraint in self.constraints.items()
        }
        rate = _rate(terms, closed_form=self.closed_form)
        loss = jnp.mean(losses.lagrangian(rate, values, multipliers))
        metrics = {f"constraint/{name}": jnp.mean(value) for name, value in values.items()}
        return loss, _metrics(loss, terms, examples) | metrics

    def describe(self, multipliers, step):
        weighted = " + ".join(f"{multipliers[name]:.4g} · {name}" for name in self.constraints)
        text = f"the Lagrangian rate + {weighted}"
        if [constraint.in_nats for constraint in self.constraints.values()] != [True]:
            return text
        (multiplier,) = multipliers.values()
        if abs(multiplier - 1.0) <= 1e-3:
            return text + ", at multiplier 1 the negative ELBO up to a constant"
        if multiplier < 1.0:
            return text + ", a scaled bound on the negative ELBO up to a constant (multiplier < 1)"
        return text + ", no bound on the negative log-likelihood (multiplier > 1)"


def _rate(terms: Terms, *, closed_form: bool) -> Array:
    """The rate [K, B], in closed form where that is wanted and every level has one."""
    if not closed_form or any(kl is None for kl in terms.kl):
        return terms.total_rate
    rate = jnp.sum(jnp.concatenate([kl for kl in terms.kl if kl is not None], axis=-1), axis=-1)
    return jnp.broadcast_to(rate, terms.distortion.shape)


def _by_name(
    constraints: Mapping[str, Constraint] | Iterable[tuple[str, Constraint]],
) -> dict[str, Constraint]:
    pairs = list(constraints.items() if isinstance(constraints, Mapping) else constraints)
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(
                f"{names.count(name)} constraints are called {name!r}: give each a name of its own."
            )
    return dict(pairs)


def _metrics(loss: Array, terms: Terms, examples: Examples) -> dict[str, Array]:
    rate, distortion = jnp.mean(terms.total_rate), jnp.mean(terms.distortion)
    metrics = {"loss": loss, "elbo": -(rate + distortion), "rate": rate, "distortion": distortion}
    location = terms.likelihood.location
    if location is not None:  # where a likelihood has its mean at hand
        metrics["mse"] = jnp.mean((examples.x - location) ** 2)
    return metrics
