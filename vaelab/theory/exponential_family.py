"""Models with few binary latents, exactly: log-likelihood, ELBO and gap by enumeration of all states.

A model is a table of log p(x_b, z_s), and an encoder is a table of log q(z_s|x_b), both [B, S]. The
functions know neither where the tables come from nor how they were learned. All are differentiable, in the
precision of their arguments. `in_float64` runs any of them in float64 within its own scope.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp

from vaelab.checks import UsageError, check_at_least_one
from vaelab.types import Array, PyTree

MAX_LATENTS = 20  # a table of 1,000 examples takes 8 GB

_TOLERANCE = 1e-3  # of log Σ_z q(z|x), for sums of 2²⁰ terms in float32

Output = TypeVar("Output")


def binary_states(num_latents: int) -> Array:
    """All states of n bits in binary order: the last bit changes fastest. [2ⁿ, n].

    Raises:
      UsageError: n is not an integer of at least 1, or there are more than `MAX_LATENTS` bits.

    >>> binary_states(2).tolist()
    [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    """
    if not isinstance(num_latents, int | np.integer):
        raise UsageError(f"num_latents must be an integer such as 2, got {num_latents!r}.")
    check_at_least_one(num_latents=num_latents)
    check_enumerable("num_latents", num_latents)
    bits = np.arange(2**num_latents, dtype=np.int32)[:, None]
    return jnp.asarray(bits >> np.arange(num_latents, dtype=np.int32)[::-1] & 1, float)


def check_enumerable(name: str, num_latents: int) -> None:
    """Raises one sentence if 2ⁿ states are too many.

    Args:
      name: what the user gave, such as "num_latents".
      num_latents: n.

    Raises:
      UsageError: there are more than `MAX_LATENTS` bits.
    """
    if num_latents > MAX_LATENTS:
        raise UsageError(
            f"{name} must be at most {MAX_LATENTS} for enumeration, got {num_latents}: a table of "
            f"1,000 examples and 2^{num_latents} states needs {8e-6 * 2.0**num_latents:,.3g} GB, so choose "
            "fewer latents or estimate log p(x) by sampling."
        )


def encoder_log_prob(natural: Array, psi: Array, log_base: Array | float = 0.0) -> Array:
    """log q(z_s|x_b) ∝ log h'(z_s) + ⟨ψ(z_s), e(x_b)⟩. [B, m], [S, m] -> [B, S].

    With ψ = `binary_states(n)` the bits are independent and e(x) are their logits, given by an encoder or free for each
    example. With ψ = the identity matrix q is any distribution over all states.

    Args:
      natural: e(x), [B, m].
      psi: statistics ψ(z) of all states, [S, m].
      log_base: log h', [S].

    Raises:
      UsageError: e(x) and ψ(z) differ in length.

    >>> jax.device_get(jnp.exp(encoder_log_prob(jnp.array([[0.0, -jnp.log(3.0)]]), binary_states(2)))).round(3)
    array([[0.375, 0.125, 0.375, 0.125]], dtype=float32)
    """
    if natural.ndim != 2 or psi.ndim != 2 or natural.shape[1] != psi.shape[1]:
        raise UsageError(
            f"the encoder gives {natural.shape} and psi has the shape {psi.shape}: give natural [B, m] "
            "and psi [S, m] with one parameter for each statistic of z."
        )
    linear = jnp.matmul(natural, psi.T, precision=jax.lax.Precision.HIGHEST)
    return jax.nn.log_softmax(linear + log_base, axis=1)


class ExactBound(NamedTuple):
    """What enumeration gives for each example, in nats."""

    log_likelihood: Array  # [B], log p(x)
    elbo: Array  # [B]
    gap: Array  # [B], KL(q(z|x) ‖ p(z|x)), the difference of both


def exact_bound(log_joint: Array, log_q: Array) -> ExactBound:
    """log p(x) = log Σ_z p(x, z), the ELBO Σ_z q (log p(x, z) − log q), and the gap. [B, S], [B, S] -> [B].

    The gap is computed as a KL. A difference of the other two would lose its digits near zero. The tables may be
    nested lists.

    Raises:
      UsageError: the tables differ in shape, or log_q is not normalised. Traced values pass.

    >>> log_joint = jnp.log(jnp.array([[0.1, 0.3]]))
    >>> jax.device_get(jnp.stack(exact_bound(log_joint, jnp.log(jnp.array([[0.5, 0.5]]))))).round(3)
    array([[-0.916],
           [-1.06 ],
           [ 0.144]], dtype=float32)
    """
    log_joint, log_q = as_table(log_joint), as_table(log_q)
    _check_tables(log_joint, log_q)
    log_likelihood = logsumexp(log_joint, axis=1)
    bound = posterior_expectation(log_q, log_joint - log_q)
    gap = posterior_expectation(log_q, log_q - log_joint + log_likelihood[:, None])
    return ExactBound(log_likelihood, bound, gap)


class ExactGradients(NamedTuple):
    """`ExactBound`, and the gradients of the means over examples with respect to the parameters."""

    exact: ExactBound
    log_likelihood: PyTree
    elbo: PyTree
    gap: PyTree


def exact_gradients(
    tables: Callable[[PyTree], tuple[Array, Array]], parameters: PyTree
) -> ExactGradients:
    """Exact values and gradients of a model as a function of its parameters.

    Args:
      tables: parameters -> (log p(x, z), log q(z|x)), both [B, S].
      parameters: any tree of arrays.

    >>> log_joint = jnp.log(jnp.array([[0.1, 0.3]]))
    >>> found = exact_gradients(lambda e: (log_joint, encoder_log_prob(e, binary_states(1))), jnp.zeros((1, 1)))
    >>> jax.device_get(found.elbo).round(3), jax.device_get(found.log_likelihood)
    (array([[0.275]], dtype=float32), array([[0.]], dtype=float32))
    """

    def means(parameters: PyTree) -> tuple[ExactBound, ExactBound]:
        found = exact_bound(*tables(parameters))
        return ExactBound(*map(jnp.mean, found)), found

    slopes, found = jax.jacrev(means, has_aux=True)(parameters)
    return ExactGradients(found, *slopes)


def in_float64(function: Callable[..., Output], *arguments: Any) -> Output:
    """function(*arguments) in float64, whatever the precision of the caller. Returns numpy arrays.

    Floating-point arrays in the arguments are converted. Arrays that the function brings along itself keep the digits
    they have: `binary_states` and data are exact in float32. Dictionaries in the
    result are sorted by their keys, as in every tree of JAX. It cannot be called within jit.

    >>> in_float64(exact_bound, jnp.zeros((1, 2)), jnp.log(jnp.full((1, 2), 0.5))).log_likelihood.dtype
    dtype('float64')
    """

    def widen(leaf: Any) -> Any:
        if isinstance(leaf, (jax.Array, np.ndarray)) and jnp.issubdtype(leaf.dtype, jnp.floating):
            return jnp.asarray(np.asarray(leaf, np.float64))
        return leaf

    with jax.enable_x64(True):
        return jax.device_get(function(*jax.tree.map(widen, arguments)))


def posterior_expectation(log_q: Array, values: Array) -> Array:
    """Σ_z q(z|x) value(z), [B, ...] -> [B]. States without mass count as zero, and have no gradient."""
    products = jnp.exp(log_q) * jnp.where(log_q > -jnp.inf, values, 0.0)
    return jnp.sum(products, axis=tuple(range(1, products.ndim)))


def as_table(values: Any) -> Array:
    """Values or nested lists as an array of floating-point numbers."""
    values = jnp.asarray(values)
    return values if jnp.issubdtype(values.dtype, jnp.floating) else values.astype(float)


def _check_tables(log_joint: Array, log_q: Array) -> None:
    if log_joint.ndim != 2 or log_joint.shape != log_q.shape:
        raise UsageError(
            f"log_joint has the shape {log_joint.shape} and log_q the shape {log_q.shape}: give both as "
            "tables [B, S] of the same examples and states."
        )
    if isinstance(log_q, jax.core.Tracer):
        return
    total = np.asarray(logsumexp(log_q, axis=1))
    wrong = ~(np.abs(total) <= _TOLERANCE)  # NaN is wrong, too
    if wrong.any():
        example = int(np.argmax(wrong))
        raise UsageError(
            f"log_q has log Σ_z q(z|x) = {total[example]:.3g} in example {example} and must have 0: give "
            "log p(x, z) first, and second log q(z|x), normalised as by encoder_log_prob."
        )
