"""The best factorised posterior of each example, and the gap of an encoder in two parts."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vaelab.checks import UsageError
from vaelab.theory.exponential_family import (
    as_table,
    binary_states,
    check_enumerable,
    encoder_log_prob,
    exact_bound,
)
from vaelab.types import Array

_CONFIDENCE = 3.0  # logit of the bits at a start near one state


@partial(jax.jit, static_argnames=("num_starts", "max_sweeps"))
def mean_field(
    log_joint: Array, *, num_starts: int = 4, max_sweeps: int = 2000, tolerance: float = 1e-10
) -> Array:
    """Logits of the independent bits q(z|x_b) with the largest ELBO found. [B, 2ⁿ] -> [B, n].

    Coordinate ascent: the logit of bit i becomes `E_q [log p(x, z_i = 1, z_−i) − log p(x, z_i = 0, z_−i)]`, which
    never lowers the ELBO. It starts from the marginals of p(z|x) and near the `num_starts` most probable states. The best end
    counts: the ELBO has several local maxima. Gradients stop at the result. At a maximum, the derivative of the
    ELBO by the model's parameters needs no derivative of q.

    Args:
      log_joint: log p(x, z), finite, of the states of `exponential_family.binary_states`.
      num_starts: number of starts beside the marginals.
      max_sweeps: largest number of sweeps over the bits.
      tolerance: the sweeps end when no logit changes by more than this.

    Raises:
      UsageError: the number of states is no power of two, or there are more than `MAX_LATENTS` bits.

    >>> joint = jnp.log(jnp.array([[0.1, 0.1, 0.4, 0.4]]))  # the bits are independent
    >>> jax.device_get(jax.nn.sigmoid(mean_field(joint))).round(3)
    array([[0.8, 0.5]], dtype=float32)
    """
    log_joint = jax.lax.stop_gradient(as_table(log_joint))
    bits = binary_states(_number_of_bits(log_joint)).astype(log_joint.dtype)
    log_joint -= jax.nn.logsumexp(log_joint, axis=1, keepdims=True)

    def sweep(logits: Array) -> Array:
        for i in range(bits.shape[1]):
            rest = encoder_log_prob(logits.at[:, i].set(0.0), bits) + jnp.log(2.0)
            difference = jnp.sum(jnp.exp(rest) * (2 * bits[:, i] - 1) * log_joint, axis=1)
            logits = logits.at[:, i].set(difference)
        return logits

    def ascend(start: Array) -> tuple[Array, Array]:
        def must_continue(carry: tuple[Array, Array, Array]) -> Array:
            _, change, count = carry
            return (change > tolerance) & (count < max_sweeps)

        def step(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            logits, _, count = carry
            new = sweep(logits)
            return new, jnp.max(jnp.abs(new - logits)), count + 1

        first = start, jnp.array(jnp.inf, start.dtype), jnp.array(0)
        logits, _, _ = jax.lax.while_loop(must_continue, step, first)
        return logits, exact_bound(log_joint, encoder_log_prob(logits, bits)).elbo

    posterior = jnp.exp(log_joint)
    ones, zeros = posterior @ bits, posterior @ (1 - bits)
    tiny = jnp.finfo(log_joint.dtype).tiny
    marginals = jnp.log(jnp.maximum(ones, tiny)) - jnp.log(jnp.maximum(zeros, tiny))
    _, modes = jax.lax.top_k(log_joint, min(num_starts, log_joint.shape[1]))
    vertices = _CONFIDENCE * (2 * bits[modes] - 1)  # [B, starts, n]
    starts = jnp.concatenate([marginals[None], jnp.swapaxes(vertices, 0, 1)])
    ends, bounds = jax.lax.map(ascend, starts)
    best = jnp.argmax(bounds, axis=0)
    return jnp.take_along_axis(ends, best[None, :, None], axis=0)[0]


class GapParts(NamedTuple):
    """log p(x) − ELBO in two parts, nats."""

    approximation: Array  # [B], of the best independent bits: no encoder of them can do better
    amortisation: Array  # [B], what the encoder loses in addition


def gap_parts(log_joint: Array, log_q: Array) -> GapParts:
    """The gap of an encoder with independent bits, split. Cremer et al., 2018, section 3. [B, S], [B, S] -> [B].

    >>> joint = jnp.log(jnp.array([[0.45, 0.05, 0.05, 0.45]]))  # the bits are equal
    >>> jax.device_get(jnp.stack(gap_parts(joint, jnp.full((1, 4), -jnp.log(4.0))))).round(3)
    array([[0.498],
           [0.013]], dtype=float32)
    """
    log_joint = as_table(log_joint)
    bits = binary_states(_number_of_bits(log_joint)).astype(log_joint.dtype)
    best = exact_bound(log_joint, encoder_log_prob(mean_field(log_joint), bits)).gap
    return GapParts(best, exact_bound(log_joint, log_q).gap - best)


def _number_of_bits(log_joint: Array) -> int:
    if log_joint.ndim != 2 or log_joint.shape[1].bit_count() != 1 or log_joint.shape[1] < 2:
        raise UsageError(
            f"log_joint has the shape {log_joint.shape}: give a table [B, 2^n] of all states of n bits."
        )
    number = log_joint.shape[1].bit_length() - 1
    check_enumerable("the number of bits of log_joint", number)
    return number
