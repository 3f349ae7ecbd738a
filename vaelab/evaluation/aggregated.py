"""The aggregated posterior q(z) = 1/N Σ_n q(z|x_n) of a trained model."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vaelab.evaluation.batches import Progress, map_batches
from vaelab.evaluation.subject import Subject
from vaelab.priors.aggregated import AggregatedPosterior, mean_and_scale
from vaelab.types import Array, PyTree


class Aggregated(NamedTuple):
    """q(z_l) of one level over all data of a subject. `elbo_surgery` and `holes` take it.

    Every example is a component. Give the training set as the encoder saw it: binarise grey images
    once, and not again for each call.
    """

    subject: Subject
    level: int
    density: AggregatedPosterior
    variables: PyTree  # variables of the density, {"params": {"mean", "scale"}}, each [N, D_l]

    @property
    def num_inputs(self) -> int:
        """The number of components N."""
        return len(self.variables["params"]["mean"])

    @property
    def static(self) -> tuple[object, AggregatedPosterior, int]:
        """(model, density, level), the static arguments of compiled functions."""
        return self.subject.model, self.density, self.level


def aggregated_posterior(
    subject: Subject,
    level: int = 0,
    *,
    batch_size: int = 500,
    chunk_size: int = 1000,
    progress: Progress = iter,
) -> Aggregated:
    """q(z_level) = 1/N Σ_n q(z_level|x_n) over the subject's data.

    Raises:
      UndefinedError: the level has no posterior or prior of its own, or its posterior is not a
        diagonal Gaussian.
      UsageError: batch_size or chunk_size is below 1.
    """
    mean, scale = map_batches(
        partial(_encode, subject.model, level, subject.params),
        subject.inputs,
        jax.random.key(0),  # nothing is random
        batch_size=batch_size,
        progress=progress,
    )
    variables = {"mean": jnp.asarray(mean, jnp.float32), "scale": jnp.asarray(scale, jnp.float32)}
    density = AggregatedPosterior(mean.shape[1], chunk_size)
    return Aggregated(subject, level, density, {"params": variables})


@partial(jax.jit, static_argnums=(0, 1))
def _encode(model, level, params, examples, key) -> tuple[Array, Array]:
    del key
    bound = model.at(params)
    return mean_and_scale(bound.level_posterior(bound.encode(examples.x, examples.context), level))
