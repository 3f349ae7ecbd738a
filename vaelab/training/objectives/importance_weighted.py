"""The negative importance-weighted bound with three estimators of its gradient."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import jax.numpy as jnp

from vaelab import losses
from vaelab.checks import check_at_least_one
from vaelab.constraints import Constraint
from vaelab.models import Model
from vaelab.models.base import check_reparameterised
from vaelab.training.objectives.base import Objective, metrics
from vaelab.types import Array, Examples, PRNGKey, Terms


@dataclasses.dataclass(frozen=True)
class ImportanceWeighted(Objective):
    """Negative importance-weighted bound with its naive gradient. Burda et al., 2016."""

    constraints: ClassVar[Mapping[str, Constraint]] = {}  # type: ignore[misc]
    num_samples: int = 50
    """Number K of posterior samples per example."""

    def __post_init__(self) -> None:
        check_at_least_one(num_samples=self.num_samples)

    def __call__(self, model, multipliers, examples, key, step):
        del multipliers, step
        terms = self.terms(model, examples, key)
        loss = -jnp.mean(losses.importance_weighted_bound(terms.log_weights))
        return loss, metrics(loss, terms, examples)

    @property
    def label(self):
        return "IWAE"

    @property
    def validation_samples(self):
        return self.num_samples

    @property
    def validation(self):
        """The importance-weighted bound."""
        return _bound

    def terms(self, model: Model, examples: Examples, key: PRNGKey) -> Terms:
        """The model's terms, with the stop-gradients of the gradient estimator."""
        return model(examples.x, key, self.num_samples, context=examples.context)

    def describe(self, multipliers, step):
        del multipliers
        return f"the negative importance-weighted bound with {self.num_samples} samples"


@dataclasses.dataclass(frozen=True)
class StickingTheLanding(ImportanceWeighted):
    """ImportanceWeighted without the score of log q. Its gradient is biased if K > 1. Roeder et al., 2017."""

    def check(self, model, num_steps):
        super().check(model, num_steps)
        check_reparameterised(model)

    @property
    def label(self):
        return "IWAE, STL"

    def terms(self, model, examples, key):
        weights = jnp.ones((self.num_samples, len(examples.x)))
        return model(examples.x, key, self.num_samples, weights, examples.context)


@dataclasses.dataclass(frozen=True)
class DoublyReparameterised(ImportanceWeighted):
    """ImportanceWeighted with the doubly reparameterised gradient (DReG): unbiased, of low variance. Tucker et al., 2019."""

    def check(self, model, num_steps):
        super().check(model, num_steps)
        check_reparameterised(model)

    @property
    def label(self):
        return "IWAE, DReG"

    def terms(self, model, examples, key):
        weights = losses.normalised_weights(super().terms(model, examples, key).log_weights)
        return model(examples.x, key, self.num_samples, weights, examples.context)


def _bound(examples: Examples, terms: Terms) -> Array:
    """[1, B], nats."""
    del examples
    return losses.importance_weighted_bound(terms.log_weights)[None]
