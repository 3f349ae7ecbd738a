"""The aggregated posterior: on its own inputs, the prior with the smallest rate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from vaelab.checks import UndefinedError, UsageError, check_at_least_one
from vaelab.priors.base import Given, Prior
from vaelab.priors.components import Components, component_log_probs, diagonal_gaussian
from vaelab.types import Array, PRNGKey


class AggregatedPosterior(Prior):
    """q(z) = 1/N Σ_n q(z|x_n), exactly, for diagonal Gaussian posteriors. For evaluation only.

    Of all priors it gives the inputs x_1..x_N the smallest rate, I(x; z) ≤ log N. It is the reference for
    other priors. Its parameters are means and scales [N, D], which `evaluation.aggregated_posterior` makes.
    Components stream through in chunks with a running log-sum-exp: memory is [points, chunk_size] for
    every N.
    Hoffman & Johnson, 2016; Tomczak & Welling, 2018, eq. 5.

    Raises:
      UsageError: it is initialised, which means that it is the prior of a model to be trained.

    >>> prior = AggregatedPosterior(latent_dim=2)
    >>> inputs = {"mean": jnp.zeros((3, 2)), "scale": jnp.ones((3, 2))}
    >>> prior.apply({"params": inputs}, jnp.zeros(2), method="log_prob")  # −log 2π
    Array(-1.837877, dtype=float32)
    """

    chunk_size: int = 1000
    """Number of components whose densities are in memory at once."""

    def __post_init__(self) -> None:
        check_at_least_one(chunk_size=self.chunk_size)
        super().__post_init__()

    def log_prob(self, z: Array, given: Given = Given()) -> Array:
        self.check_arguments(z, given)
        return self.log_prob_of_first(z, len(self._gaussians()[0]))

    def log_prob_of_first(self, z: Array, num_inputs: int | Array) -> Array:
        """log 1/n Σ_{m≤n} q(z|x_m), of n = `num_inputs` [] or [...] inputs. [..., D] -> [...]."""

        def log_probs(components: Components) -> Array:
            return component_log_probs(z, components)

        return self._log_mean_exp(log_probs, z.shape[:-1], num_inputs)

    def coordinate_log_prob(self, z: Array) -> Array:
        """log q(z_d) = log 1/N Σ_n q(z_d|x_n), the marginal of each coordinate. [..., D] -> [..., D]."""

        def log_probs(components: Components) -> Array:
            def of_coordinate(z: Array, mean: Array, scale: Array) -> Array:
                one = components._replace(mean=mean[:, None], scale=scale[:, None])
                return component_log_probs(z[..., None], one)

            each = jax.vmap(of_coordinate, in_axes=(-1, 1, 1), out_axes=-2)
            return each(z, components.mean, components.scale)

        return self._log_mean_exp(log_probs, z.shape, len(self._gaussians()[0]))

    def sample(self, key: PRNGKey, num_samples: int, given: Given = Given()) -> Array:
        self.check_arguments(given=given)
        check_at_least_one(num_samples=num_samples)
        index_key, noise_key = jax.random.split(key)
        mean, scale = self._gaussians()
        index = jax.random.randint(index_key, (num_samples,), 0, len(mean))
        noise = jax.random.normal(noise_key, (num_samples, self.latent_dim))
        return mean[index] + scale[index] * noise

    def _log_mean_exp(
        self,
        log_probs: Callable[[Components], Array],
        shape: tuple[int, ...],
        num_inputs: int | Array,
    ) -> Array:
        """log 1/n Σ_{m≤n} exp(log_probs(components)_m), where log_probs returns [*shape, chunk]."""
        mean, scale = self._gaussians()
        size = min(self.chunk_size, len(mean))

        def add_chunk(chunk: int | Array, total: Array) -> Array:
            index = chunk * size + jnp.arange(size)
            rows = jnp.minimum(index, len(mean) - 1)
            counted = index < jnp.asarray(num_inputs)[..., None]
            log_weights = jnp.where(counted, 0.0, -jnp.inf)
            components = Components(log_weights, mean[rows], scale[rows])
            terms = log_probs(components) + log_weights
            return jnp.logaddexp(total, logsumexp(terms, axis=-1))

        last = num_inputs if isinstance(num_inputs, int) else jnp.max(num_inputs)
        total = jax.lax.fori_loop(0, -(-last // size), add_chunk, jnp.full(shape, -jnp.inf))
        return total - jnp.log(num_inputs)

    def _gaussians(self) -> tuple[Array, Array]:
        if self.is_initializing():
            raise UsageError(
                "the aggregated posterior is a reference for evaluation and cannot be trained: "
                "choose another prior."
            )
        mean, scale = (
            self.get_variable("params", "mean"),
            self.get_variable("params", "scale"),
        )
        if mean is None or scale is None:
            raise UsageError(
                "the aggregated posterior has no means and scales: make them with "
                "evaluation.aggregated_posterior."
            )
        return mean, scale


def mean_and_scale(posterior: Any) -> tuple[Array, Array]:
    """Means and standard deviations of diagonal Gaussians, each [B, D].

    Raises:
      UndefinedError: the posterior is no diagonal Gaussian, and q(z) no mixture of Gaussians.
    """
    parts = diagonal_gaussian(posterior)
    if parts is None:
        raise UndefinedError(
            f"the encoder gives a posterior {type(posterior).__name__}, and the aggregated posterior "
            "needs diagonal Gaussians: distrax.Independent(distrax.Normal(mean, scale), 1)."
        )
    return parts
