"""Finite mixtures of diagonal Gaussians, and the mixture whose components are free parameters."""

from __future__ import annotations

import abc
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from vaelab.checks import UsageError, check_at_least_one
from vaelab.priors.base import Given, Prior
from vaelab.priors.components import Components, component_log_probs, diagonal_gaussian
from vaelab.types import Array, PRNGKey, PyTree


class MixturePrior(Prior):
    """p(z) = Σ_k w_k N(z; μ_k, diag σ_k²), for priors that define `components`.

    log p(z) = logsumexp_k (log w_k + Σ_d log N(z_d; μ_kd, σ_kd²)). The sum over coordinates is inside;
    outside, it would give a product of one-dimensional mixtures.
    """

    @abc.abstractmethod
    def components(self, given: Given = Given()) -> Components:
        """Weights, means and standard deviations."""

    def logits_of(self, num_components: int, *, learned: bool) -> Array:
        """The logits [C] of the weights, equal at the start; a parameter if they are learned."""
        zeros = jnp.zeros(num_components)
        return self.param("logits", lambda _: zeros) if learned else zeros

    def log_prob(self, z: Array, given: Given = Given()) -> Array:
        self.check_arguments(z, given)
        components = self.components(given)
        return logsumexp(component_log_probs(z, components) + components.log_weights, axis=-1)

    def sample(self, key: PRNGKey, num_samples: int, given: Given = Given()) -> Array:
        self.check_arguments(given=given)
        check_at_least_one(num_samples=num_samples)
        index_key, noise_key = jax.random.split(key)
        components = self.components(given)
        index = jax.random.categorical(index_key, components.log_weights, shape=(num_samples,))
        noise = jax.random.normal(noise_key, (num_samples, self.latent_dim))
        return components.mean[index] + components.scale[index] * noise

    def summary(self, params: PyTree) -> dict[str, Array]:
        """Effective number of components, exp(−Σ_k w_k log w_k) in [1, C], of learned weights."""
        if "logits" not in params:
            return {}
        log_weights = jax.nn.log_softmax(params["logits"])
        entropy = jnp.sum(jax.scipy.special.entr(jnp.exp(log_weights)))
        return {"effective_components": jnp.exp(entropy)}


class GaussianMixture(MixturePrior):
    """Mixture of Gaussians with free weights, means and variances.

    At the start means are draws of N(0, `spread`²), variances are 1, and weights are equal.

    >>> prior = GaussianMixture(latent_dim=2, num_components=16)
    >>> variables = prior.init(jax.random.key(0), jnp.zeros(2))
    >>> prior.apply(variables, jnp.zeros((5, 2)), method="log_prob").shape
    (5,)
    """

    num_components: int = 16
    """Number of components C."""
    spread: float = 1.0
    """Standard deviation of the components' means at the start."""

    def __post_init__(self) -> None:
        check_at_least_one(num_components=self.num_components)
        super().__post_init__()

    @nn.compact
    def components(self, given: Given = Given()) -> Components:
        shape = (self.num_components, self.latent_dim)
        mean = self.param("mean", nn.initializers.normal(self.spread), shape)
        log_variance = self.param("log_variance", nn.initializers.zeros, shape)
        logits = self.param("logits", nn.initializers.zeros, shape[:1])
        return Components(jax.nn.log_softmax(logits), mean, jnp.exp(0.5 * log_variance))


def gaussian_parts(
    name: str, distribution: Any, inputs: Array, latent_dim: int
) -> tuple[Array, Array]:
    """Means and standard deviations of a network's diagonal Gaussians, [C, D] each; raises for others."""
    parts = diagonal_gaussian(distribution)
    if parts is None:
        inner = getattr(distribution, "distribution", None)
        given = type(distribution).__name__ + (f"({type(inner).__name__})" if inner else "")
        raise UsageError(
            f"{name} must return diagonal Gaussians, distrax.Independent(distrax.Normal(mean, scale), "
            f"1) or a pair (mean, scale), of which the mixture is made, not {given}."
        )
    shape = (len(inputs), latent_dim)
    if parts[0].shape != shape:
        raise UsageError(
            f"{name} gives means of shape {parts[0].shape} for {len(inputs)} inputs of shape "
            f"{inputs.shape[1:]}, not {shape}: set its size to latent_dim, and event_ndims of its "
            "trunk to the number of axes of one input."
        )
    return jnp.broadcast_to(parts[0], shape), jnp.broadcast_to(parts[1], shape)
