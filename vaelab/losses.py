"""Bounds on log p(x) and Lagrangians, as functions of arrays.

Shapes: `[K, B]` for K Monte-Carlo samples of B examples; everything is in nats. Functions return
per-example arrays `[B]`, which the caller averages. `free_bits` is an exception: it is defined on the
average. Bounds end in `_bound` and are maximised; the others are minimised.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from vaelab.checks import UsageError, check_axes, check_equal
from vaelab.types import Array


def elbo(distortion: Array, rate: Array, *, beta: float | Array = 1.0) -> Array:
    """Evidence lower bound, −E_q[distortion + β·rate]. [K, B], [K, B] -> [B].

    β = 1 is the ELBO; another β is the β-VAE objective (Higgins et al., 2017, eq. 4), which bounds
    log p(x) only for β ≥ 1. Warm-up is a schedule on β. Kingma & Welling, 2014, eq. 2.

    >>> elbo(jnp.array([[3.0], [5.0]]), jnp.array([[1.0], [1.0]]))
    Array([-5.], dtype=float32...)
    """
    _check_samples("distortion", distortion)
    check_equal(shape_of_distortion=distortion.shape, shape_of_rate=rate.shape)
    return -jnp.mean(distortion + beta * rate, axis=0)


def elbo_closed_form(distortion: Array, kl: Array, *, beta: float | Array = 1.0) -> Array:
    """Evidence lower bound with the rate in closed form, −E_q[distortion] − β Σ_d KL_d.

    [K, B], [B, D] -> [B]. It has the expectation of `elbo`, usually with a lower variance. If q is close to
    p(z|x), the variance of `elbo` is lower, because log weights are then constant. Kingma & Welling,
    2014, eq. 10.

    >>> elbo_closed_form(jnp.array([[3.0], [5.0]]), jnp.array([[0.25, 0.75]]))
    Array([-5.], dtype=float32...)
    """
    _check_samples("distortion", distortion)
    check_axes("kl", kl, "[B, D]")
    check_equal(examples_of_distortion=distortion.shape[1], examples_of_kl=kl.shape[0])
    return -jnp.mean(distortion, axis=0) - beta * jnp.sum(kl, axis=-1)


def free_bits(kl: Array, *, free_nats: float | Array) -> Array:
    """Rate of which `free_nats` nats per latent coordinate cost nothing, Σ_d max(mean_b KL_bd, free_nats).

    [B, D] -> []. The mean is over the (global) batch, so the result is a scalar. Minimise it instead of the
    rate. Kingma et al., 2016, eq. 15.

    >>> free_bits(jnp.array([[0.0, 2.0], [0.2, 4.0]]), free_nats=0.5)
    Array(3.5, dtype=float32...)
    """
    check_axes("kl", kl, "[B, D]")
    return jnp.sum(jnp.maximum(jnp.mean(kl, axis=0), free_nats))


def importance_weighted_bound(log_weights: Array) -> Array:
    """Importance-weighted bound on log p(x), log 1/K Σ_k w_k. [K, B] -> [B].

    Its gradient is unbiased, but the signal-to-noise ratio of the encoder's gradient falls with K:
    see `doubly_reparameterised_bound`. `log_weights` must come from the rate at the sample.
    Burda et al., 2016, eq. 8.

    >>> importance_weighted_bound(jnp.log(jnp.array([[1.0], [3.0]])))  # log 2
    Array([0.6931472], dtype=float32...)
    """
    _check_samples("log_weights", log_weights)
    return logsumexp(log_weights, axis=0) - jnp.log(log_weights.shape[0])


def _check_samples(name: str, samples: Array) -> None:
    """Raises one sentence unless the array is [K, B] with K > 0: the mean of no samples is NaN."""
    check_axes(name, samples, "[K, B]")
    if not len(samples):
        raise UsageError("num_samples must be at least 1: there are no samples to average over.")


def normalised_weights(log_weights: Array) -> Array:
    """Self-normalised importance weights w̃_k = w_k / Σ_j w_j, as constants. [K, B] -> [K, B].

    >>> normalised_weights(jnp.zeros((4, 1))).T
    Array([[0.25, 0.25, 0.25, 0.25]], dtype=float32...)
    """
    return jax.lax.stop_gradient(jax.nn.softmax(log_weights, axis=0))


@jax.custom_vjp
def scale_gradient(z: Array, scale: Array) -> Array:
    """The identity on z, whose gradient is multiplied by `scale`. [..., D], [...] -> [..., D].

    If `scale` holds the normalised importance weights w̃ of z, backpropagation through z carries w̃²
    instead of w̃. This makes a reparameterised gradient doubly reparameterised.

    >>> jax.grad(lambda z: scale_gradient(z, jnp.array(0.5)).sum())(jnp.ones(2))
    Array([0.5, 0.5], dtype=float32...)
    """
    check_equal(leading_axes_of_z=z.shape[: scale.ndim], shape_of_scale=scale.shape)
    return z


def _scale_gradient_forward(z: Array, scale: Array) -> tuple[Array, Array]:
    check_equal(leading_axes_of_z=z.shape[: scale.ndim], shape_of_scale=scale.shape)
    return z, scale


def _scale_gradient_backward(scale: Array, cotangent: Array) -> tuple[Array, Array]:
    return cotangent * scale[..., None], jnp.zeros_like(scale)


scale_gradient.defvjp(_scale_gradient_forward, _scale_gradient_backward)


def sticking_the_landing_bound(log_weight_fn: Callable[[Array], Array], z: Array) -> Array:
    """Importance-weighted bound whose gradient omits the score of log q. [K, B, D] -> [B].

    `log_weight_fn` maps z to log weights [K, B] and must hold log q's parameters constant
    (`jax.lax.stop_gradient`); z depends on them by reparameterisation. The encoder's gradient is
    unbiased for K = 1 only: use `doubly_reparameterised_bound` for K > 1. Roeder et al., 2017.

    >>> def gradient(bound):  # p = q = N(1, 1): the gradient has no variance at all
    ...     log_normal = lambda z, mean: -0.5 * jnp.sum((z - mean) ** 2, -1)
    ...     z = lambda mean: mean + jnp.array([[[0.3]]])
    ...     log_w = lambda mean: lambda z: log_normal(z, 1.0) - log_normal(z, mean)
    ...     return jax.grad(lambda mean: bound(log_w(jax.lax.stop_gradient(mean)), z(mean))[0])(1.0)
    >>> gradient(sticking_the_landing_bound)
    Array(0., dtype=float32...)
    """
    check_axes("z", z, "[K, B, D]")
    return importance_weighted_bound(log_weight_fn(z))


def doubly_reparameterised_bound(log_weight_fn: Callable[[Array], Array], z: Array) -> Array:
    """Importance-weighted bound with the doubly reparameterised gradient (DReG). [K, B, D] -> [B].

    The gradient is E Σ_k w̃_k² (∂log w_k/∂z_k) ∂z_k/∂φ for the encoder and E Σ_k w̃_k ∂log w_k/∂θ for all
    other parameters. It is unbiased, and its signal-to-noise ratio grows with K.

    `log_weight_fn` is that of `sticking_the_landing_bound`. It is called twice: the first call computes the
    weights. Under jit the two calls share their computation. Tucker et al., 2019, eq. 9.

    >>> log_w = lambda z: -0.5 * jnp.sum(z**2, -1)
    >>> doubly_reparameterised_bound(log_w, jnp.zeros((4, 1, 2)))
    Array([0.], dtype=float32...)
    """
    check_axes("z", z, "[K, B, D]")
    weights = normalised_weights(log_weight_fn(jax.lax.stop_gradient(z)))
    return importance_weighted_bound(log_weight_fn(scale_gradient(z, weights)))


def disarm_gradient(cost: Array, bits: Array, logits: Array) -> Array:
    """DisARM's estimate of the gradient of E cost in logits η. [2, N, B], [2, N, B, D], [N, B, D] -> [N, B, D].

    The bits of each pair are b = 1[u < σ(η)] and b' = 1[1 − u < σ(η)], with costs f and f'. The estimate
    ½ (f − f') (b − b') σ(|η|) is unbiased, and a constant. Its product with η, added to a loss, has this
    gradient in the parameters of η. Only the part of the cost that depends on the bits need be given.
    Dong, Mnih & Tucker, 2020.

    >>> bits = jnp.array([1.0, 0.0]).reshape(2, 1, 1, 1)
    >>> disarm_gradient(jnp.array([3.0, 1.0]).reshape(2, 1, 1), bits, jnp.zeros((1, 1, 1)))
    Array([[[0.5]]], dtype=float32...)
    """
    check_axes("cost", cost, "[2, N, B]")
    check_equal(shape_of_bits=bits.shape, shape_of_two_logits=(2, *logits.shape))
    difference = (cost[0] - cost[1])[..., None] * (bits[0] - bits[1])
    return jax.lax.stop_gradient(0.5 * difference * jax.nn.sigmoid(jnp.abs(logits)))


def lagrangian(
    rate: Array, constraints: Mapping[str, Array], multipliers: Mapping[str, Array]
) -> Array:
    """Lagrangian E[rate] + Σ_j λ_j E[C_j], E over the samples. [K, B], {[K, B]}, {[]} -> [B].

    It is minimised over parameters and maximised over multipliers. It is linear in λ, so the gradient of its
    batch mean with respect to λ_j *is* the batch mean of C_j: one gradient serves both players of
    `saddle.saddle_point`. Rezende & Viola, 2018, eq. 2.

    Raises:
      UsageError: constraints and multipliers have different names.

    >>> lagrangian(jnp.ones((1, 1)), {"nll": jnp.full((1, 1), 3.0)}, {"nll": jnp.array(2.0)})
    Array([7.], dtype=float32...)
    """
    if set(constraints) != set(multipliers):
        raise UsageError(
            f"constraints {sorted(constraints)} and multipliers {sorted(multipliers)} must have the "
            "same names."
        )
    _check_samples("rate", rate)
    total = rate
    for name, constraint in constraints.items():
        check_equal(**{"shape_of_rate": rate.shape, f"shape_of_{name}": constraint.shape})
        total = total + multipliers[name] * constraint
    return jnp.mean(total, axis=0)


def squared_mmd(first: Array, second: Array) -> Array:
    """Squared maximum mean discrepancy of two samples, unbiased. [N, D], [M, D] -> [].

    E k(a, a') + E k(b, b') − 2 E k(a, b) over distinct pairs, with the inverse multiquadratic kernel
    k(a, b) = c / (c + ‖a − b‖²), c = 2 D, whose heavy tails give distant samples a gradient. Its mean is 0
    if both samples have the same density, and single values may be negative. Gretton et al., 2012, eq. 3.

    Raises:
      UsageError: a sample has fewer than two points.

    >>> squared_mmd(jnp.zeros((2, 1)), jnp.ones((2, 1)))  # 1 + 1 − 2 · 2/3
    Array(0.66..., dtype=float32...)
    """
    check_axes("first", first, "[N, D]")
    check_axes("second", second, "[M, D]")
    check_equal(coordinates_of_first=first.shape[1], coordinates_of_second=second.shape[1])
    if min(len(first), len(second)) < 2:
        raise UsageError("squared_mmd needs at least two points in each sample.")

    def kernel(a: Array, b: Array) -> Array:
        constant = 2.0 * a.shape[-1]
        distance = jnp.sum((a[:, None] - b) ** 2, axis=-1)
        return constant / (constant + distance)

    def within(a: Array) -> Array:
        num = len(a)
        return (jnp.sum(kernel(a, a)) - num) / (num * (num - 1))  # k(a, a) = 1

    return within(first) + within(second) - 2 * jnp.mean(kernel(first, second))
