"""What models with a prior on their top level have in common."""

from __future__ import annotations

import abc
import math
from typing import TYPE_CHECKING, Any, Self

import flax.linen as nn
import jax
import numpy as np

from vaelab.checks import UsageError
from vaelab.models.base import (
    Latents,
    Model,
    check_decoder,
    check_latents,
    check_level,
    check_no_context,
)
from vaelab.priors import Given, Prior
from vaelab.priors.base import DataRange
from vaelab.separate import check_modules
from vaelab.types import Array, Examples, PRNGKey, PyTree, as_examples

# Why a level below the top has no density of its own.
OF_LOWER_LEVELS = (
    "has no density of its own: it depends on the samples of the levels above; use log_posterior or log_prior of "
    "all levels."
)


class ModelWithPrior(Model):
    """A model without a context whose field `prior`, any `vaelab.priors.Prior`, is the density of level 0.

    A subclass says what is below: `level_log_lower_priors`. Its levels below the top have no density of their own,
    unless it overrides the three methods of one level.
    """

    if TYPE_CHECKING:
        prior: Prior  # a subclass declares the field where its constructor has it

    def __post_init__(self) -> None:
        check_modules(self)
        check_decoder(self)
        check_prior(self)
        self.check_settings()
        if self.decoder.shape is not None:
            self.fit_events(self.decoder.event_shape, finite_range(self.decoder.data_range))
        super().__post_init__()

    @nn.nowrap
    def check_settings(self) -> None:
        """Raises one sentence if the settings do not fit together. The latents are continuous."""
        if self.prior.discrete:
            raise UsageError(
                f"prior = {type(self.prior).__name__} is a prior over bits, and the latents of a "
                f"{type(self).__name__} are continuous: use models.TopDownVAE with BernoulliUnits."
            )

    @nn.nowrap
    def fit_events(self, shape: tuple[int, ...], data_range: DataRange | None) -> None:
        """Fills in what was left out and follows from the shape and the range of an example."""
        self.prior = self.prior.for_events(shape, data_range)

    @nn.nowrap
    def for_data(self, examples: Examples | Array) -> Model:
        """The same model for these examples: shapes and ranges that were left out are derived.

        The prior's pseudo-inputs have the range of the data if the decoder's range is infinite.
        """
        model: Any = super().for_data(examples)
        prior = model.prior.for_events(model.decoder.event_shape, range_of(as_examples(examples).x))
        return model if prior is model.prior else model.clone(parent=None, prior=prior)

    @property
    def label(self) -> str:
        return f"{super().label}, {type(self.prior).__name__}"

    @property
    def prior_samples(self) -> int | None:
        return self.prior.num_samples

    def with_prior_samples(self, num_samples: int) -> Self:
        return self.clone(prior=self.prior.with_num_samples(num_samples))

    def start_from(self, params: PyTree, x: Array, key: PRNGKey) -> PyTree:
        if "prior" not in params:
            return params
        return params | {"prior": self.prior.start_from(params["prior"], x, key)}

    def learned(self, params: PyTree) -> dict[str, float]:
        summary = self.prior.summary(params.get("prior", {}))
        return super().learned(params) | {name: float(value) for name, value in summary.items()}

    @abc.abstractmethod
    def level_log_lower_priors(self, latents: Latents) -> tuple[Array, ...]:
        """log p(z_l | z_<l) of the levels below the top, nats. L arrays [..., D_l] -> L − 1 arrays [...]."""

    def log_prior(
        self, latents: Latents, key: PRNGKey | None = None, context: Array | None = None
    ) -> Array:
        check_no_context(self, context)
        check_latents(self, latents)
        log_top = self.prior.log_prob(latents[0], self.given(key))
        return sum(self.level_log_lower_priors(latents), start=log_top)

    def log_joint_prior(
        self, latents: Latents, auxiliary: PyTree, context: Array | None = None
    ) -> Array:
        check_no_context(self, context)
        check_latents(self, latents)
        log_top = self.prior.joint_log_prob(latents[0], auxiliary, self.given())
        return sum(self.level_log_lower_priors(latents), start=log_top)

    def level_log_prior(self, z: Array, level: int = 0, key: PRNGKey | None = None) -> Array:
        check_level(self, level, 1, OF_LOWER_LEVELS)
        return self.prior.log_prob(z, self.given(key))

    def level_factorises(self, level: int = 0) -> bool:
        check_level(self, level, 1, OF_LOWER_LEVELS)
        return self.prior.factorises

    def given(self, key: PRNGKey | None = None, weights: Array | None = None) -> Given:
        """What the prior receives: also q(z_0|x), for priors made of posteriors."""
        return Given(key, weights, self.top_posterior)

    def top_posterior(self, x: Array) -> Any:
        """q(z_0|x). [B, *event] -> distribution of batch shape [B]."""
        return self.level_posterior(self.encode(x))


def check_prior(model: Any) -> None:
    """Raises one sentence if the prior is not a `Prior`, which has a number of coordinates."""
    if not isinstance(model.prior, Prior):
        raise UsageError(
            f"prior = {type(model.prior).__name__} must be a priors.Prior: use one of vaelab.priors, or "
            "derive from Prior."
        )


def finite_range(data_range: DataRange) -> DataRange | None:
    """The range, or None where one of its ends is infinite.

    >>> finite_range((0.0, float("inf"))) is None
    True
    """
    return data_range if all(map(math.isfinite, data_range)) else None


def range_of(x: Any) -> DataRange | None:
    """Lowest and highest value of x; None if they are equal, or unknown inside `jit`.

    >>> range_of(np.array([-1.0, 2.0]))
    (-1.0, 2.0)
    """
    if isinstance(x, jax.core.Tracer):
        return None
    low, high = float(np.min(x)), float(np.max(x))
    return (low, high) if math.isfinite(high - low) and low < high else None
