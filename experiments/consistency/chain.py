"""The hidden-Markov view of a hierarchy: exact EM beside ELBO learning with a shared encoder."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.consistency.optimise import ascend, maximise, network
from vaelab import theory
from vaelab.theory import LogisticChain
from vaelab.types import Array, PyTree

SIZES = (2, 2, 3)  # bits of each level, top first
NUM_PIXELS = 6
NUM_STARTS = 4
NUM_STEPS = 300  # of EM, and of L-BFGS


class Start(NamedTuple):
    """Learning from one random start. In nats."""

    em: float  # E log p(x)
    elbo_likelihood: float  # E log p(x) of the model that ELBO learning ends with
    elbo: float


class Fit(NamedTuple):
    """Share of the variance of log p(x|z_i) under p(z_i|x) that is explained, over z_i, averaged over x."""

    learned: float  # by ⟨a_i(x), z_i⟩
    best: float  # by the best affine function of z_i


class Stage(NamedTuple):
    """A model with its encoder."""

    log_likelihood: float
    elbo: float
    free: float  # ELBO with free a_i(x) of each x
    fits: list[Fit]  # of each level, top first


class Scatter(NamedTuple):
    """Points of all x and z_i of a level, without the mean over z_i of each x."""

    log_px: list[float]
    pre: list[float]  # ⟨a_i(x), z_i⟩
    weights: list[float]  # p(x) p(z_i|x)


class ChainNumbers(NamedTuple):
    """What the study measures of binary chains."""

    entropy: float  # of the data, with the sign of E log p(x)
    recursion_error: float  # backward recursion beside enumeration, largest difference in nats
    em_never_falls: bool
    starts: list[Start]
    truth: (
        Stage  # the data's own chain, the maximum of the likelihood, and an encoder trained for it
    )
    joint: Stage  # both trained from there
    scatter: list[Scatter]  # at the joint optimum, top first


class Both(NamedTuple):
    """A model and its shared encoder, both with layers top first."""

    model: LogisticChain
    encoder: tuple[theory.Affine, ...]


def joint_elbo(both: Both, x: Array, weights: Array) -> Array:
    """The ELBO as a function of model and encoder."""
    return encoder_elbo(both.encoder, both.model, x, weights)


def encoder_elbo(
    encoder: tuple[theory.Affine, ...], model: LogisticChain, x: Array, weights: Array
) -> Array:
    """The ELBO as a function of the encoder."""
    return free_elbo(theory.pre_activations(encoder, x), model, x, weights)


def free_elbo(pre: PyTree, model: LogisticChain, x: Array, weights: Array) -> Array:
    """The ELBO as a function of the pre-activations of each x."""
    return weights @ theory.chain_elbo(model, pre, x)


def chains(seed: int, *, num_starts: int = NUM_STARTS, num_steps: int = NUM_STEPS) -> ChainNumbers:
    """Data of a random chain; models of the same sizes."""
    generator = np.random.default_rng([seed, 3])
    x = jnp.asarray(list(itertools.product((0.0, 1.0), repeat=NUM_PIXELS)))
    truth = random_model(generator, 3.0)
    weights = jnp.exp(truth.log_likelihood(x))

    firsts = [
        Both(random_model(generator, 1.0), random_encoder(generator)) for _ in range(num_starts)
    ]
    ends = ascend(joint_elbo, firsts, x, weights, max_steps=num_steps)
    starts, monotone = [], True
    for first, end in zip(firsts, ends, strict=True):
        _, values = theory.expectation_maximisation(first.model, x, weights, num_steps=num_steps)
        monotone &= bool(jnp.all(jnp.diff(values) > -1e-12))
        likelihood = weights @ end.parameters.model.log_likelihood(x)
        starts.append(Start(float(values[-1]), float(likelihood), end.value))
    encoders = [random_encoder(generator) for _ in range(num_starts)]
    encoder = maximise(encoder_elbo, encoders, truth, x, weights, max_steps=num_steps)
    first = Both(truth, encoder.parameters)
    joint = maximise(joint_elbo, [first], x, weights, max_steps=num_steps).parameters
    return ChainNumbers(
        float(weights @ jnp.log(weights)),
        recursion_error(truth, x),
        monotone,
        starts,
        _stage(first, x, weights, num_steps),
        _stage(joint, x, weights, num_steps),
        _scatters(joint, x, weights),
    )


def random_model(generator: np.random.Generator, scale: float) -> LogisticChain:
    """Layers with normal weights."""
    sizes = (*SIZES, NUM_PIXELS)
    layers = [
        theory.Affine(
            jnp.asarray(generator.normal(scale=scale, size=pair)),
            jnp.asarray(generator.normal(size=pair[1])) - scale / 2,
        )
        for pair in itertools.pairwise(sizes)
    ]
    return LogisticChain(jnp.asarray(generator.normal(size=SIZES[0])), tuple(layers))


def random_encoder(generator: np.random.Generator) -> tuple[theory.Affine, ...]:
    """W_0, ..., W_m of the shared encoder, top first."""
    return tuple(reversed(network(generator, (NUM_PIXELS, *reversed(SIZES)))))


def recursion_error(model: LogisticChain, x: Array) -> float:
    """The largest difference between log p(x|z_0) of the recursion and of a sum over all lower levels."""
    chain, log_x = model.tables(x)
    total = np.zeros((len(x), len(chain.top)))
    for path in itertools.product(*(range(2**size) for size in SIZES)):
        log_p = np.asarray(log_x)[:, path[-1]]
        for step, (above, below) in zip(chain.steps, itertools.pairwise(path), strict=True):
            log_p = log_p + float(step[above, below])
        total[:, path[0]] += np.exp(log_p)
    return float(np.max(np.abs(np.log(total) - theory.backward_recursion(chain, log_x)[0])))


def _stage(both: Both, x: Array, weights: Array, num_steps: int) -> Stage:
    pre = theory.pre_activations(both.encoder, x)

    free = maximise(free_elbo, [pre], both.model, x, weights, max_steps=num_steps)
    chain, log_x = both.model.tables(x)
    posteriors = theory.level_marginals(theory.chain_posterior(chain, log_x))
    fits = []
    for log_px, a, log_q in zip(
        theory.backward_recursion(chain, log_x), pre, posteriors, strict=True
    ):
        total, residual, best = (
            float(weights @ part) for part in theory.affine_fit(log_px, a, log_q)
        )
        fits.append(Fit(1 - residual / total, 1 - best / total))
    return Stage(
        float(weights @ both.model.log_likelihood(x)),
        float(free_elbo(pre, both.model, x, weights)),
        free.value,
        fits,
    )


def _scatters(both: Both, x: Array, weights: Array) -> list[Scatter]:
    chain, log_x = both.model.tables(x)
    posteriors = theory.level_marginals(theory.chain_posterior(chain, log_x))
    levels = zip(
        theory.backward_recursion(chain, log_x), theory.pre_activations(both.encoder, x), posteriors, strict=True
    )  # fmt: skip
    scatters = []
    for log_px, a, log_q in levels:
        q = jnp.exp(log_q)

        def centred(values: Array, q: Array = q) -> Array:
            return values - jnp.sum(q * values, axis=1, keepdims=True)

        inner = a @ theory.binary_states(a.shape[1]).T
        parts = (centred(log_px), centred(inner), weights[:, None] * q)
        scatters.append(
            Scatter(*(np.asarray(jax.device_get(part)).ravel().tolist() for part in parts))
        )
    return scatters
