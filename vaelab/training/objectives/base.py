"""The contract of objectives, and the metrics that all objectives report."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping

import jax.numpy as jnp

from vaelab.constraints import Constraint
from vaelab.models import Model
from vaelab.types import Array, Examples, PRNGKey, Terms


class Objective(abc.ABC):
    """What a training step minimises. Each objective is a frozen dataclass.

    An objective receives the model with its parameters (`Model.at`), and may call any method of it:
    `model(x, key, num_samples)` gives the terms, `sample_latents` and `decode` give samples of p(x, z).
    All objectives report the same `metrics`, so their curves can be compared.
    """

    constraints: Mapping[str, Constraint]
    """Constraints by name. Empty without constraints."""
    num_samples: int
    """Posterior samples per example."""

    @abc.abstractmethod
    def __call__(
        self,
        model: Model,
        multipliers: Mapping[str, Array],
        examples: Examples,
        key: PRNGKey,
        step: Array,
    ) -> tuple[Array, dict[str, Array]]:
        """(loss [], metrics {name: []}) of a batch of examples."""

    @property
    @abc.abstractmethod
    def label(self) -> str:
        """Name of the objective in plots."""

    @property
    def settling_steps(self) -> int:
        """Number of steps at the start whose validations do not count for early stopping."""
        return 0

    @property
    def validation_samples(self) -> int:
        """Posterior samples per example for `validation`."""
        return 1

    @property
    def validation(self) -> Callable[[Examples, Terms], Array]:
        """The bound that early stopping maximises, (examples, terms) -> [K, B] or [1, B].

        The ELBO, whatever λ is. Equal objectives return the same function, so it is compiled once.
        """
        return elbo_bound

    def check(self, model: Model, num_steps: int) -> None:
        """Raises one sentence if the objective does not fit the model or the length of the run.

        Raises:
          UsageError: field, value and remedy.
        """
        del model, num_steps

    def for_length(self, num_steps: int, *, before: int) -> Objective:
        """The same objective in a run of `num_steps`; it was made for a run of `before` steps."""
        del num_steps, before
        return self

    def distortion_weight(self, step: int) -> float | None:
        """The weight of the distortion relative to the rate at a step; None if there is no single weight."""
        del step
        return None

    @abc.abstractmethod
    def describe(self, multipliers: Mapping[str, float], step: int) -> str:
        """What was minimised at this step, as a clause for reports."""


def elbo_bound(examples: Examples, terms: Terms) -> Array:
    """log p(x, z) − log q(z|x), [K, B], nats."""
    del examples
    return terms.log_weights


def metrics(loss: Array, terms: Terms, examples: Examples) -> dict[str, Array]:
    """Loss, ELBO, rate and distortion in nats, and the squared error if the likelihood has a location.

    A model with several levels also has the rate of each level, "rate/0" for the top.
    """
    rate, distortion = jnp.mean(terms.total_rate), jnp.mean(terms.distortion)
    values = {"loss": loss, "elbo": -(rate + distortion), "rate": rate, "distortion": distortion}
    if len(terms.rate) > 1:
        values |= {f"rate/{level}": jnp.mean(rate) for level, rate in enumerate(terms.rate)}
    location = terms.likelihood.location
    if location is not None:
        values["mse"] = jnp.mean((examples.x - location) ** 2)
    return values


def total_rate(terms: Terms, *, closed_form: bool) -> Array:
    """Sum of `level_rates`, [K, B]."""
    rates = level_rates(terms, closed_form=closed_form)
    return sum(rates[1:], start=rates[0])


def level_rates(terms: Terms, *, closed_form: bool) -> list[Array]:
    """The rate of each level, [K, B]: the closed form if it is chosen and exists, else the sampled rate."""
    return [
        rate
        if kl is None or not closed_form
        else jnp.broadcast_to(jnp.sum(kl, axis=-1), rate.shape)
        for rate, kl in zip(terms.rate, terms.kl, strict=True)
    ]
