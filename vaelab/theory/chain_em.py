"""Exact expectation maximisation of small hierarchies, the baseline of ELBO learning."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vaelab.theory.binary_chain import ChainPosterior, chain_posterior, level_marginals
from vaelab.theory.exponential_family import binary_states
from vaelab.theory.logistic_chain import Affine, LogisticChain
from vaelab.types import Array


class ExpectedCounts(NamedTuple):
    """Expected counts of an E-step: Σ_b w_b p(· |x_b)."""

    top: Array  # [S_0]
    steps: tuple[Array, ...]  # m tables [S_{i−1}, S_i], of both levels together
    bottom: Array  # [B, S_m], of each example


def expected_counts(posterior: ChainPosterior, weights: Array) -> ExpectedCounts:
    """The E-step: pairwise marginals of p(z|x), summed over the data with the weights [B]."""
    levels = level_marginals(posterior)
    steps = tuple(
        jnp.einsum("b,bij->ij", weights, jnp.exp(level[:, :, None] + step))
        for level, step in zip(levels, posterior.steps, strict=False)
    )
    return ExpectedCounts(
        weights @ jnp.exp(levels[0]), steps, weights[:, None] * jnp.exp(levels[-1])
    )


@partial(jax.jit, static_argnames=("num_steps", "num_newton"))
def expectation_maximisation(
    model: LogisticChain, x: Array, weights: Array, *, num_steps: int, num_newton: int = 3
) -> tuple[LogisticChain, Array]:
    """Exact EM: pairwise posteriors by the backward algorithm, then logistic regressions on their counts.

    A regression takes `num_newton` steps, each of which never lowers its likelihood. So log p(x) never falls.

    Args:
      model: the start.
      x: binary data, [B, D].
      weights: share of each example in the data, [B].
      num_steps: number of EM steps.
      num_newton: number of steps of each regression.

    Returns:
      The last model, and Σ_b w_b log p(x_b) before each step and at the end, [num_steps + 1].
    """

    def step(model: LogisticChain, _: None) -> tuple[LogisticChain, Array]:
        chain, log_x = model.tables(x)
        counts = expected_counts(chain_posterior(chain, log_x), weights)
        top = counts.top @ binary_states(len(model.top)) / jnp.sum(counts.top)
        bits = [binary_states(layer.W.shape[1]) for layer in model.layers[:-1]]
        joint = [*(c @ z for c, z in zip(counts.steps, bits, strict=True)), counts.bottom.T @ x]
        total = [*(jnp.sum(c, axis=1) for c in counts.steps), jnp.sum(counts.bottom, axis=0)]
        layers = tuple(
            _regress(layer, ones, mass, num_newton)
            for layer, ones, mass in zip(model.layers, joint, total, strict=True)
        )
        new = LogisticChain(jnp.log(top) - jnp.log1p(-top), layers)
        return new, weights @ model.log_likelihood(x)

    model, values = jax.lax.scan(step, model, None, length=num_steps)
    return model, jnp.append(values, weights @ model.log_likelihood(x))


def _regress(layer: Affine, ones: Array, mass: Array, num_steps: int) -> Affine:
    """Steps towards the maximum of Σ_s ones_sj η_sj − mass_s softplus(η_sj), η = zW + b. [S, n_out], [S].

    Of Newton's step and the step with the bound ¼ on the variance, the one with the larger objective is taken. The
    second never lowers the objective. Böhning & Lindsay, 1988.
    """
    z = binary_states(layer.W.shape[0])
    features = jnp.concatenate([z, jnp.ones((len(z), 1), z.dtype)], axis=1)
    ridge = 1e-9 * jnp.eye(features.shape[1])

    def value(theta: Array) -> Array:
        eta = features @ theta
        return jnp.sum(ones * eta - mass[:, None] * jax.nn.softplus(eta), axis=0)

    def step(theta: Array, _: None) -> tuple[Array, None]:
        mean = jax.nn.sigmoid(features @ theta)
        slope = features.T @ (ones - mass[:, None] * mean)
        variance = mass[:, None] * mean * (1 - mean)
        hessian = jnp.einsum("si,sj,sk->jik", features, variance, features) + ridge
        newton = theta + jnp.linalg.solve(hessian, slope.T[..., None])[..., 0].T
        bound = 0.25 * features.T @ (mass[:, None] * features) + ridge
        safe = theta + jnp.linalg.solve(bound, slope)
        now, tried = value(theta), value(newton)
        theta = jnp.where(value(safe) >= now, safe, theta)
        return jnp.where(tried > value(theta), newton, theta), None

    theta, _ = jax.lax.scan(step, jnp.concatenate([layer.W, layer.b[None]]), None, length=num_steps)
    return Affine(theta[:-1], theta[-1])
