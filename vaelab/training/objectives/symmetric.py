"""Symmetric learning: model and posterior learn from samples of each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp

from vaelab.checks import UsageError, check_at_least_one
from vaelab.constraints import Constraint
from vaelab.models import Model
from vaelab.training.objectives.base import Objective, metrics
from vaelab.types import Array, Examples, PRNGKey


@dataclasses.dataclass(frozen=True)
class SymmetricLearning(Objective):
    """Two players: max_θ E_π(x) E_q(z|x) log p(x, z) and max_φ E_p(x, z) log q(z|x).

    π is the distribution of the data. φ are the model's `posterior_parameters`, and θ are all others. Each
    player holds its samples constant: no gradient passes through a sample, and latents may be discrete.
    Each gradient reaches the player's own parameters alone. The loss is the sum of both players' losses. It
    has no bound of its own; validation takes the ELBO. Flach et al., 2023.

    If the posterior of a hierarchy adds the natural parameters of p(z_l|z_l−1), or reads the state of the
    generation, φ moves the posterior's own parameters only. The same is true for an encoder that also gives
    the components of a VampPrior: the encoder belongs to φ, and θ moves the pseudo-inputs. An estimated
    log p(z) is a bound with samples of its own, and θ increases this bound.

    An optimiser that clips the norm of the whole gradient couples the players.
    """

    constraints: ClassVar[Mapping[str, Constraint]] = {}  # type: ignore[misc]
    num_samples: int = 1
    """Posterior samples per example for θ, and samples of p(x, z) per example of the batch for φ."""

    def __post_init__(self) -> None:
        check_at_least_one(num_samples=self.num_samples)

    def __call__(self, model, multipliers, examples, key, step):
        del multipliers, step
        terms_key, prior_key, dream_key = jax.random.split(key, 3)
        names = model.variables["params"].keys()
        posterior = [name for name in names if name in model.posterior_parameters]
        if not posterior:
            raise UsageError(
                f"{type(model).__name__}.posterior_parameters = {model.posterior_parameters} names none "
                f"of the parameters {', '.join(names)}: name those of q(z|x)."
            )
        generative = [name for name in names if name not in posterior]
        terms = model(examples.x, terms_key, self.num_samples, context=examples.context)
        latents = jax.lax.stop_gradient(terms.latents)
        player = model.with_gradient_in(generative)
        log_joint = player.decode(latents, examples.context).log_prob(examples.x)
        log_joint += player.log_prior(latents, prior_key, examples.context)
        log_posterior = self._log_posterior(model, posterior, examples, dream_key)
        players = {"model_loss": -jnp.mean(log_joint), "posterior_loss": -jnp.mean(log_posterior)}
        loss = players["model_loss"] + players["posterior_loss"]
        return loss, metrics(loss, terms, examples) | players

    def _log_posterior(
        self, model: Model, names: list[str], examples: Examples, key: PRNGKey
    ) -> Array:
        """log q(z|x) at samples of p(x, z|context), [num_samples · B], with a gradient in `names`."""
        z_key, x_key = jax.random.split(key)
        context = examples.context
        if context is not None:
            context = jnp.repeat(context, self.num_samples, axis=0)
        latents = model.sample_latents(z_key, self.num_samples * len(examples.x), context)
        x = model.decode(latents, context).sample(seed=x_key)
        latents, x = jax.lax.stop_gradient((latents, x))
        player = model.with_gradient_in(names)
        return player.log_posterior(player.encode(x, context), latents)

    @property
    def label(self):
        return "symmetric learning"

    def describe(self, multipliers, step):
        del multipliers, step
        return (
            "−log p(x, z) at samples of the posterior and −log q(z|x) at samples of the model, which is no "
            "bound"
        )
