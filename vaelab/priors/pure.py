"""Priors as pure functions, for projects in plain JAX, Equinox or NNX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from vaelab.priors.base import Given, Prior
from vaelab.types import Array, PRNGKey, PyTree


class Functions(NamedTuple):
    """The methods of a prior as functions of its parameters; the contract is that of `Prior`.

    `given` is optional everywhere.
    """

    log_prob: Callable[..., Array]  # (params, z [..., D], given) -> [...], nats
    sample: Callable[..., Array]  # (params, key, num_samples, given) -> [num_samples, D]
    sample_joint: Callable[..., tuple[Array, PyTree]]  # (params, key, num_samples, given) -> (z, u)
    joint_log_prob: Callable[..., Array]  # (params, z, u, given) -> [...], nats
    kl: Callable[..., Array | None]  # (params, posterior) -> [B, D], or None


def functional(
    prior: Prior, key: PRNGKey, encode: Callable[[Array], Any] | None = None
) -> tuple[PyTree, Functions]:
    """The prior's parameters, a dict of arrays, and its methods as pure functions of them.

    The functions work under `jit`, `grad`, `vmap` and `scan`. A prior that is not exact needs
    `Given(key)` in `log_prob`.

    A VampPrior without its own encoder is a mixture of the posteriors of *your* encoder. Then pass
    `encode` here, to initialise, and as `Given(encode=...)` in every call, because its parameters change
    in training. It maps x [B, ...] to B diagonal Gaussians over z: a pair (mean, scale) of arrays [B, D],
    with standard deviations as the scale, or a distrax distribution, `Independent(Normal(mean, scale), 1)`
    or `MultivariateNormalDiag(mean, scale)`. `kl` reads the same types.

    >>> import jax
    >>> from vaelab.priors import GaussianMixture
    >>> params, functions = functional(GaussianMixture(latent_dim=2), jax.random.key(0))
    >>> z = functions.sample(params, jax.random.key(1), 5)
    >>> functions.log_prob(params, z).shape
    (5,)
    """
    variables = prior.init(key, jnp.zeros(prior.latent_dim), Given(encode=encode))

    def call(method: str, params: PyTree, *args: Any) -> Any:
        return prior.apply({"params": params}, *args, method=method)

    def log_prob(params: PyTree, z: Array, given: Given = Given()) -> Array:
        return call("log_prob", params, z, given)

    def sample(params: PyTree, key: PRNGKey, num_samples: int, given: Given = Given()) -> Array:
        return call("sample", params, key, num_samples, given)

    def sample_joint(
        params: PyTree, key: PRNGKey, num_samples: int, given: Given = Given()
    ) -> tuple[Array, PyTree]:
        return call("sample_joint", params, key, num_samples, given)

    def joint_log_prob(
        params: PyTree, z: Array, auxiliary: PyTree, given: Given = Given()
    ) -> Array:
        return call("joint_log_prob", params, z, auxiliary, given)

    def kl(params: PyTree, posterior: Any) -> Array | None:
        return call("kl", params, posterior)

    functions = Functions(log_prob, sample, sample_joint, joint_log_prob, kl)
    return variables.get("params", {}), functions
