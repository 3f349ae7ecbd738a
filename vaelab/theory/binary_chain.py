"""Hierarchies with small state spaces as hidden Markov models: z_0 → z_1 → ... → z_m → x, exactly.

Level 0 is the top. All levels are listed top first. Each level is a table over its states, so a level of n bits
has 2ⁿ states. Flach, 2022, Structured model learning variational autoencoders.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from vaelab.checks import UsageError
from vaelab.types import Array


class HiddenChain(NamedTuple):
    """The prior of a hierarchy as log-probabilities."""

    top: Array  # [S_0], log p(z_0)
    steps: tuple[Array, ...]  # m tables [S_{i−1}, S_i], log p(z_i|z_{i−1})


class ChainPosterior(NamedTuple):
    """p(z|x), which is a Markov chain as well."""

    top: Array  # [B, S_0], log p(z_0|x)
    steps: tuple[Array, ...]  # m tables [B, S_{i−1}, S_i], log p(z_i|z_{i−1}, x)


@jax.jit
def backward_recursion(chain: HiddenChain, log_x: Array) -> tuple[Array, ...]:
    """log p(x|z_i) of every level, from the bottom up: `p(x|z_{i−1}) = Σ_{z_i} p(z_i|z_{i−1}) p(x|z_i)`.

    Args:
      chain: the prior.
      log_x: log p(x_b|z_m), [B, S_m].

    Returns:
      A table [B, S_i] for each of the m + 1 levels, top first.

    Raises:
      UsageError: the tables do not fit together.

    >>> chain = HiddenChain(jnp.log(jnp.array([0.5, 0.5])), (jnp.log(jnp.array([[0.9, 0.1], [0.2, 0.8]])),))
    >>> jax.device_get(jnp.exp(backward_recursion(chain, jnp.log(jnp.array([[0.3, 0.6]])))[0])).round(3)
    array([[0.33, 0.54]], dtype=float32)
    """
    _check_chain(chain, log_x)
    levels = [log_x]
    for step in reversed(chain.steps):
        levels.append(logsumexp(step + levels[-1][:, None, :], axis=2))
    return tuple(reversed(levels))


def chain_log_likelihood(chain: HiddenChain, log_x: Array) -> Array:
    """log p(x) = log Σ p(z_0) p(x|z_0). [B]."""
    return logsumexp(chain.top + backward_recursion(chain, log_x)[0], axis=1)


@jax.jit
def chain_posterior(chain: HiddenChain, log_x: Array) -> ChainPosterior:
    """`p(z_i|z_{i−1}, x) = p(z_i|z_{i−1}) p(x|z_i) / p(x|z_{i−1})`, and p(z_0|x). Arguments of `backward_recursion`.

    >>> chain = HiddenChain(jnp.log(jnp.array([0.5, 0.5])), (jnp.log(jnp.array([[0.9, 0.1], [0.2, 0.8]])),))
    >>> found = chain_posterior(chain, jnp.log(jnp.array([[0.3, 0.6]])))
    >>> jax.device_get(jnp.exp(found.steps[0])).round(3)
    array([[[0.818, 0.182],
            [0.111, 0.889]]], dtype=float32)
    """
    levels = backward_recursion(chain, log_x)
    top = jax.nn.log_softmax(chain.top + levels[0], axis=1)
    steps = tuple(
        step + below[:, None, :] - jnp.where(above > -jnp.inf, above, 0.0)[:, :, None]
        for step, above, below in zip(chain.steps, levels, levels[1:], strict=False)
    )
    return ChainPosterior(top, steps)


def level_marginals(posterior: ChainPosterior) -> tuple[Array, ...]:
    """log q(z_i|x) of each level by the forward recursion, top first: [B, S_i] each.

    >>> top, step = jnp.log(jnp.array([[0.5, 0.5]])), jnp.log(jnp.array([[[0.9, 0.1], [0.2, 0.8]]]))
    >>> jax.device_get(jnp.exp(level_marginals(ChainPosterior(top, (step,)))[1])).round(3)
    array([[0.55, 0.45]], dtype=float32)
    """
    levels = [posterior.top]
    for step in posterior.steps:
        levels.append(logsumexp(levels[-1][:, :, None] + step, axis=1))
    return tuple(levels)


def _check_chain(chain: HiddenChain, log_x: Array) -> None:
    rows: Sequence[tuple[int, ...]] = [step.shape for step in chain.steps]
    ends = [chain.top.shape[0], *(shape[1] for shape in rows)] if chain.top.ndim == 1 else []
    starts = [*(shape[0] for shape in rows), log_x.shape[-1]]
    if log_x.ndim != 2 or ends != starts:
        raise UsageError(
            f"the chain has the shapes {[chain.top.shape, *rows]} and log_x has the shape {log_x.shape}: "
            "give top [S_0], steps [S_{i-1}, S_i] and log_x [B, S_m]."
        )
