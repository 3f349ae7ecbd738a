"""The log-likelihood log p(x) by annealed importance sampling, which does not use the encoder."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.scipy.special import logsumexp

from vaelab.checks import UndefinedError, check_at_least_one
from vaelab.evaluation.averages import mean_and_error
from vaelab.evaluation.batches import Progress, map_batches
from vaelab.evaluation.subject import Subject
from vaelab.evaluation.transitions import Chains, hamiltonian, informed_flips
from vaelab.models import Model
from vaelab.types import Array, Examples, PRNGKey, PyTree

_TARGET_ACCEPTANCE = 0.65  # optimal for Hamiltonian Monte Carlo: Beskos et al., 2013
_FIRST_STEP_SIZE = 0.3
_GAIN = 0.5  # of log step size in acceptance


class AnnealedLogLikelihood(NamedTuple):
    """An annealed-importance-sampling estimate of log p(x), nats."""

    mean: float  # over examples
    standard_error: float  # of that mean, over examples
    num_chains: int  # per example
    num_temperatures: int
    num_leapfrogs: int  # per transition, and proposed flips at Bernoulli levels
    effective_sample_size: float  # (Σ w)² / Σ w² of the chains, mean over examples
    acceptance_rate: float  # of the transitions, mean over examples
    log_prob: np.ndarray  # [N], per example


def annealed_importance_sampling(
    subject: Subject,
    key: PRNGKey,
    *,
    num_chains: int = 16,
    num_temperatures: int = 1000,
    num_leapfrogs: int = 10,
    batch_size: int = 10,
    progress: Progress = iter,
) -> AnnealedLogLikelihood:
    """log 1/C Σ_c w_c, w = Π_k p(x|z_k)^(t_k+1 − t_k), along p(z, u) p(x|z)^t from t = 0 to 1.

    Chains start at samples of the prior's joint over the latents z of all levels and its auxiliary
    variables u. They move by Hamiltonian Monte Carlo on (z, u), and by proposed flips of single bits at
    Bernoulli levels. The temperatures have the spacing of a sigmoid. One temperature is importance sampling from the prior. A pilot run with its own
    samples adapts the step sizes, one for each example and temperature; then they are fixed. So the
    weights are unbiased, and the estimate is in expectation a lower bound on log p(x), also with an
    estimated prior and for any encoder. Neal, 2001; Wu et al., 2017, section 3.

    Raises:
      UndefinedError: a latent or auxiliary variable is an integer.
      UsageError: a number is below 1.
    """
    counts = dict(
        num_chains=num_chains, num_temperatures=num_temperatures, num_leapfrogs=num_leapfrogs
    )
    check_at_least_one(**counts)
    log_prob, ess, acceptance = map_batches(
        partial(
            batch_estimate,
            subject.model,
            num_chains,
            num_temperatures,
            num_leapfrogs,
            subject.params,
        ),
        subject.examples,
        key,
        batch_size=batch_size,
        progress=progress,
    )
    return AnnealedLogLikelihood(
        *mean_and_error(log_prob),
        **counts,
        effective_sample_size=float(np.mean(ess)),
        acceptance_rate=float(np.mean(acceptance)),
        log_prob=log_prob,
    )


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def batch_estimate(
    model, num_chains, num_temperatures, num_leapfrogs, params, examples, key
) -> tuple[Array, Array, Array]:
    """(log p(x), effective sample size, acceptance rate) of a batch, each [B]: one program."""
    x = examples.x
    start, evaluate, bits = _start_and_evaluation(model, params, examples, num_chains)
    # Transitions at t = 0 adapt the step size of the first temperatures.
    num_warm_up = 1 + min(num_temperatures // 2, 50)
    path = np.concatenate([np.zeros(num_warm_up), schedule(num_temperatures)[1:]])
    temperatures = jnp.asarray(path[:-1], jnp.float32)
    increments = jnp.asarray(np.diff(path), jnp.float32)

    def run(step_sizes, inputs):
        """All temperatures once. A pilot run ignores the step sizes [T, B] and returns its own."""
        is_pilot, key = inputs
        start_key, move_key = jax.random.split(key)

        def move(carry, inputs):
            chains, log_w, adapted = carry
            temperature, increment, fixed, key = inputs
            step_size = jnp.where(is_pilot, adapted, fixed)
            probabilities = []
            if bits.any():
                key, flip_key = jax.random.split(key)
            if not bits.all():
                chains, probability = hamiltonian(
                    evaluate, chains, temperature, step_size, key, num_leapfrogs, ~bits
                )
                probabilities.append(jnp.mean(probability, axis=0))
                adapted = adapted * jnp.exp(_GAIN * (probabilities[0] - _TARGET_ACCEPTANCE))
            if bits.any():
                chains, probability = informed_flips(
                    evaluate, chains, temperature, flip_key, num_leapfrogs, bits
                )
                probabilities.append(jnp.mean(probability, axis=0))
            acceptance = sum(probabilities) / len(probabilities)
            log_w = log_w + increment * chains.log_likelihood
            return (chains, log_w, adapted), (adapted, acceptance)

        chains, first_step = start(start_key), jnp.full(len(x), _FIRST_STEP_SIZE)
        (_, log_w, _), (adapted, acceptance) = jax.lax.scan(
            move,
            (chains, jnp.zeros_like(chains.log_likelihood), first_step),
            (temperatures, increments, step_sizes, jax.random.split(move_key, len(temperatures))),
        )
        return adapted, (log_w, jnp.mean(acceptance, axis=0))

    # The pilot and the run are two rounds of one loop, which is compiled once.
    rounds = (jnp.array([True, False]), jax.random.split(key))
    _, (log_w, acceptance) = jax.lax.scan(run, jnp.zeros((len(temperatures), len(x))), rounds)
    log_sum, log_sum_squares = logsumexp(log_w[1], axis=0), logsumexp(2 * log_w[1], axis=0)
    return log_sum - jnp.log(num_chains), jnp.exp(2 * log_sum - log_sum_squares), acceptance[1]


def schedule(num_temperatures: int) -> np.ndarray:
    """Temperatures from 0 to 1, denser at both ends: a sigmoid over [−4, 4]. [T + 1].

    >>> schedule(2)
    array([0. , 0.5, 1. ])
    """
    sigmoid = 1 / (1 + np.exp(-np.linspace(-4.0, 4.0, num_temperatures + 1)))
    return (sigmoid - sigmoid[0]) / (sigmoid[-1] - sigmoid[0])


def _start_and_evaluation(
    model: Model, params: PyTree, examples: Examples, num_chains: int
) -> tuple[Callable[[PRNGKey], Chains], Callable[[Array], Chains], np.ndarray]:
    """Two functions, and which coordinates of a position are bits, [V].

    key -> chains at samples of the prior, and position -> chains at the position.
    """
    x, context = examples.x, examples.context

    def sample(key: PRNGKey) -> PyTree:
        """(latents, auxiliary variables), each leaf [C, B, ...]."""
        contexts = (
            None
            if context is None
            else jnp.tile(context, (num_chains,) + (1,) * (context.ndim - 1))
        )
        joint = model.at(params).sample_joint(key, num_chains * len(x), contexts)
        return jax.tree.map(lambda leaf: leaf.reshape(num_chains, len(x), *leaf.shape[1:]), joint)

    shapes = jax.eval_shape(sample, jax.random.key(0))
    if not all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in jax.tree.leaves(shapes)):
        raise UndefinedError(
            "annealing needs gradients, and the latents or the prior's auxiliary variables are integers: "
            "use evaluation.log_likelihood."
        )
    latents, auxiliary = shapes
    kinds = (
        tuple(
            np.full(leaf.shape[2:], level in model.bernoulli_levels)
            for level, leaf in enumerate(latents)
        ),
        jax.tree.map(lambda leaf: np.zeros(leaf.shape[2:], bool), auxiliary),
    )
    bits = np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(kinds)])
    _, unravel = ravel_pytree(jax.tree.map(lambda leaf: jnp.zeros(leaf.shape[2:]), shapes))
    joint_latents = jax.vmap(jax.vmap(unravel))

    def log_prior(position: Array) -> Array:
        latents, auxiliary = joint_latents(position)
        return model.at(params).log_joint_prior(latents, auxiliary, context)

    def log_likelihood(position: Array) -> Array:
        latents, _ = joint_latents(position)
        return model.at(params).decode(latents, context).log_prob(x)

    def evaluate(position: Array) -> Chains:
        prior, prior_pullback = jax.vjp(log_prior, position)
        likelihood, likelihood_pullback = jax.vjp(log_likelihood, position)
        (prior_gradient,) = prior_pullback(jnp.ones_like(prior))
        (likelihood_gradient,) = likelihood_pullback(jnp.ones_like(likelihood))
        return Chains(position, prior, likelihood, prior_gradient, likelihood_gradient)

    def start(key: PRNGKey) -> Chains:
        return evaluate(jax.vmap(jax.vmap(lambda tree: ravel_pytree(tree)[0]))(sample(key)))

    return start, evaluate, bits
