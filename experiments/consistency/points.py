"""Expectations over x without noise: points and weights, E f(x) = Σ_b w_b f(x_b)."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from vaelab import theory
from vaelab.types import Array


class Points(NamedTuple):
    """Values of x, and the weight of each."""

    x: Array  # [B, D]
    weights: Array  # [B], their sum is 1


class JointModel(Protocol):
    """What the exact ELBO reads of a model."""

    def log_joint(self, family: Any, x: Array) -> Array:
        """log p(x, z). [B, S]."""


class Model(NamedTuple):
    """A decoder and a prior as tables over all states."""

    natural: Array  # d(z), [S, N]
    prior: Array  # logits of p(z), [S]

    def log_joint(self, family: theory.Family, x: Array) -> Array:
        """log p(x, z). [B, S]."""
        return jax.nn.log_softmax(self.prior) + family.log_prob(x, self.natural)


def all_values(family: theory.Family, num_values: int, dim: int, model: Model) -> Points:
    """Every x in {0, ..., num_values − 1}^dim, with its probability under the model."""
    values = list(itertools.product(range(num_values), repeat=dim))
    x = jnp.asarray(values, float if num_values == 2 else int)
    return Points(x, jnp.exp(jax.nn.logsumexp(model.log_joint(family, x), axis=1)))


def quadrature(family: theory.GaussianFamily, num_nodes: int, model: Model) -> Points:
    """Gauss-Hermite nodes of every component of a mixture in the plane."""
    ticks, masses = np.polynomial.hermite_e.hermegauss(num_nodes)
    masses /= masses.sum()
    noise = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
    means = family.mean(model.natural)
    x = means[:, None] + jnp.sqrt(family.variance) * noise
    weights = jax.nn.softmax(model.prior)[:, None] * np.outer(masses, masses).reshape(-1)
    return Points(x.reshape(-1, 2), weights.reshape(-1))
