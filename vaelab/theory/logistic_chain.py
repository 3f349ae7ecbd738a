"""A binary hierarchy with affine logits, and the exact ELBO of a shared bottom-up encoder."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from vaelab.checks import UsageError, check_equal
from vaelab.natural import Bernoulli
from vaelab.theory.binary_chain import (
    ChainPosterior,
    HiddenChain,
    chain_log_likelihood,
    level_marginals,
)
from vaelab.theory.exponential_family import binary_states, posterior_expectation
from vaelab.types import Array


class Affine(NamedTuple):
    """z -> zW + b."""

    W: Array  # [n_in, n_out]
    b: Array  # [n_out]

    def __call__(self, z: Array) -> Array:
        return z @ self.W + self.b


class LogisticChain(NamedTuple):
    """Bits at all levels: d_0 are the logits of z_0, and d_i(z_{i−1}) those of z_i. The last layer gives those of x."""

    top: Array  # [n_0]
    layers: tuple[Affine, ...]  # m + 1 layers, top first

    def tables(self, x: Array) -> tuple[HiddenChain, Array]:
        """The tables of `binary_chain`: the prior, and log p(x_b|z_m) [B, S_m] of binary x [B, D].

        Raises:
          UsageError: the sizes do not fit.
        """
        check_equal(columns_of_x=x.shape[1], outputs_of_the_last_layer=len(self.layers[-1].b))
        top = _log_prob(Bernoulli(self.top[None]), binary_states(len(self.top)))[0]
        steps = tuple(
            _log_prob(
                Bernoulli(layer(binary_states(layer.W.shape[0]))), binary_states(layer.W.shape[1])
            )
            for layer in self.layers[:-1]
        )
        last = self.layers[-1]
        pixels = Bernoulli(last(binary_states(last.W.shape[0])))
        return HiddenChain(top, steps), _log_prob(pixels, x).T

    def log_likelihood(self, x: Array) -> Array:
        """log p(x). [B, D] -> [B]."""
        return chain_log_likelihood(*self.tables(x))


def pre_activations(layers: tuple[Affine, ...], x: Array) -> tuple[Array, ...]:
    """`a_m = W_m x`, `a_i = W_i tanh(a_{i+1})`, with biases: the encoder that all levels share. Top first, [B, n_i].

    The layers are listed top first, too: the last one reads x.
    """
    levels = [layers[-1](x)]
    for layer in reversed(layers[:-1]):
        levels.append(layer(jnp.tanh(levels[-1])))
    return tuple(reversed(levels))


def encoder_posterior(model: LogisticChain, pre: tuple[Array, ...]) -> ChainPosterior:
    """q(z|x): bits with the logits d_i(z_{i−1}) + a_i(x), so natural parameters add.

    Args:
      model: the hierarchy.
      pre: a_i(x) of each level, [B, n_i], top first: from `pre_activations`, or free for each example.

    Raises:
      UsageError: the number of levels or of bits differs.
    """
    sizes = [len(model.top), *(layer.W.shape[1] for layer in model.layers[:-1])]
    if [level.shape[1] for level in pre] != sizes:
        raise UsageError(
            f"pre has levels of {[level.shape[1] for level in pre]} bits and the model has {sizes}: give "
            "one array [B, n_i] for each level, top first."
        )
    top = _log_prob(Bernoulli(model.top) + Bernoulli(pre[0]), binary_states(sizes[0]))

    def step(layer: Affine, level: Array) -> Array:
        prior = Bernoulli(layer(binary_states(layer.W.shape[0])))
        return _log_prob(prior + Bernoulli(level[:, None]), binary_states(layer.W.shape[1]))

    steps = (step(*pair) for pair in zip(model.layers[:-1], pre[1:], strict=True))
    return ChainPosterior(top, tuple(steps))


@jax.jit
def chain_elbo(model: LogisticChain, pre: tuple[Array, ...], x: Array) -> Array:
    """The ELBO by the forward recursion over q, [B]: E_q log p(x|z_m) − Σ_i E KL(q(z_i|z_{i−1}, x) ‖ p(z_i|z_{i−1}))."""
    chain, log_x = model.tables(x)
    posterior = encoder_posterior(model, pre)
    levels = level_marginals(posterior)
    bound = posterior_expectation(levels[-1], log_x) - posterior_expectation(
        posterior.top, posterior.top - chain.top
    )
    for level, q, p in zip(levels, posterior.steps, chain.steps, strict=False):
        bound -= posterior_expectation(level[:, :, None] + q, q - p)
    return bound


class AffineFit(NamedTuple):
    """How well a level's posterior agrees with logits that add: variances over z_i of each example, nats²."""

    total: Array  # [B], of log p(x|z_i)
    residual: Array  # [B], of log p(x|z_i) − ⟨a_i(x), z_i⟩
    best: Array  # [B], of log p(x|z_i) minus the best affine function of z_i


@jax.jit
def affine_fit(log_px: Array, pre: Array, log_weights: Array) -> AffineFit:
    """log p(x|z_i) beside ⟨a_i(x), z_i⟩, up to a constant of each example, over the states of a level.

    Args:
      log_px: log p(x_b|z_i), a level of `binary_chain.backward_recursion`, [B, 2ⁿ].
      pre: a_i(x), [B, n].
      log_weights: log of the weights of the states, [B, 2ⁿ], such as the marginals of q(z_i|x).

    >>> log_px, weights = jnp.array([[0.0, 2.0]]), jnp.full((1, 2), -jnp.log(2.0))
    >>> [float(value[0].round(3)) for value in affine_fit(log_px, jnp.array([[1.0]]), weights)]
    [1.0, 0.25, 0.0]
    """
    z = binary_states(pre.shape[1])
    check_equal(states_of_log_px=log_px.shape[1], states_of_pre=len(z))
    weights = jnp.exp(log_weights - logsumexp(log_weights, axis=1, keepdims=True))

    def variance(values: Array) -> Array:
        mean = jnp.sum(weights * values, axis=1, keepdims=True)
        return jnp.sum(weights * (values - mean) ** 2, axis=1)

    def best(log_px: Array, weights: Array) -> Array:
        root = jnp.sqrt(weights)[:, None]
        features = jnp.concatenate([z, jnp.ones((len(z), 1))], axis=1) * root
        found, *_ = jnp.linalg.lstsq(features, log_px * root[:, 0])
        return jnp.sum((log_px * root[:, 0] - features @ found) ** 2)

    residual = variance(log_px - pre @ z.T)
    return AffineFit(variance(log_px), residual, jax.vmap(best)(log_px, weights))


def _log_prob(bits: Bernoulli, z: Array) -> Array:
    """log p(z_t; η_s) of all pairs, logits [..., S, n] and z [T, n] -> [..., S, T]."""
    return jnp.sum(Bernoulli(bits.logits[..., :, None, :]).log_prob(z), axis=-1)
