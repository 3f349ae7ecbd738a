"""Theorem 1 in both directions, for three families of x."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.consistency.optimise import ENCODERS, maximise, network
from experiments.consistency.points import Model, Points, all_values, quadrature
from experiments.consistency.problem import (
    FREE,
    NUM_BITS,
    Problem,
    encoder_elbo,
    free_elbo,
    joint_elbo,
)
from vaelab import theory
from vaelab.types import Array, PyTree

NUM_STARTS = 3  # random encoders of which the best counts
NUM_NODES = 24  # of the quadrature for Gaussian x, in each direction and for each state


class Case(NamedTuple):
    """A family of x."""

    name: str
    family: theory.Family
    num_statistics: int  # N
    scale: float  # of the coupling W
    points: Callable[[Model], Points]


def gaussian(num_nodes: int) -> Case:
    """Gaussian x in the plane, with quadratures of this number of nodes."""
    family = theory.GaussianFamily(0.64)
    return Case("Gaussian", family, 2, 1.5, partial(quadrature, family, num_nodes))


CASES = (
    Case("Bernoulli", theory.BernoulliFamily(), 6, 1.0, partial(all_values, theory.BernoulliFamily(), 2, 6)),
    gaussian(NUM_NODES),
    Case("categorical", theory.CategoricalFamily(3), 8, 1.2, partial(all_values, theory.CategoricalFamily(3), 3, 4)),
)  # fmt: skip


class Consistent(NamedTuple):
    """A harmonium. Gaps are E KL(q(z|x) ‖ p(z|x)), nats."""

    family: str
    log_likelihood: float
    gaps: dict[str, float]  # by encoder
    uniform_prior: float  # approximation gap of the same decoder with a uniform prior


class Joint(NamedTuple):
    """Joint training of decoder, prior and encoder that starts at the maximum of the likelihood."""

    gap_before: float  # of the encoder trained for the first decoder
    gap_after: float
    elbo_before: float
    elbo_after: float
    likelihood_change: float
    residual_after: theory.ConsistencyResidual


class Path(NamedTuple):
    """Joint training before the first step and after each."""

    log_likelihood: list[float]
    elbo: list[float]
    residual: list[float]  # of the decoder


class Inconsistent(NamedTuple):
    """A model outside the set. Its own distribution is the data, so it has the largest likelihood."""

    family: str
    log_likelihood: float
    # By encoder, trained for this decoder; "free bits" is the approximation gap.
    gaps: dict[str, float]
    residual: theory.ConsistencyResidual
    joint: dict[str, Joint]  # by encoder
    path: Path  # with the free bits


def on_the_set(case: Case, seed: int, *, max_steps: int) -> Consistent:
    """Gaps of a harmonium at the analytic encoder and at trained ones."""
    generator = np.random.default_rng([seed, 0])
    psi = theory.binary_states(NUM_BITS)
    harmonium = theory.Harmonium(
        W=jnp.asarray(generator.normal(scale=case.scale, size=(case.num_statistics, NUM_BITS))),
        u=jnp.asarray(generator.normal(scale=0.5, size=case.num_statistics)),
        v=jnp.asarray(generator.normal(scale=0.5, size=NUM_BITS)),
        psi=psi,
        family=case.family,
    )  # fmt: skip
    model = Model(harmonium.natural, harmonium.log_prior)
    problem = Problem(case.family, case.points(model), psi)
    gaps = {"analytic": float(problem.gap(model, harmonium.encode(problem.points.x)))}
    for name, hidden in ENCODERS.items():
        layers = trained_encoder(problem, model, hidden, generator, max_steps)
        gaps[name] = float(problem.gap(model, problem.encode(layers)))
    uniform = model._replace(prior=jnp.zeros(len(psi)))
    other = problem._replace(points=case.points(uniform))
    return Consistent(
        case.name, float(problem.log_likelihood(model)), gaps, float(other.gap(uniform, other.free(uniform)))
    )  # fmt: skip


def off_the_set(case: Case, seed: int, *, max_steps: int) -> Inconsistent:
    """Gaps of encoders at the maximum of the likelihood, and joint training from there."""
    generator = np.random.default_rng([seed, 1])
    size = (2**NUM_BITS, case.num_statistics)
    psi = theory.binary_states(NUM_BITS)
    model = Model(jnp.asarray(generator.normal(scale=case.scale, size=size)), jnp.zeros(size[0]))
    problem = Problem(case.family, case.points(model), psi)
    likelihood = float(problem.log_likelihood(model))
    gaps, joint = {}, {}
    for name, hidden in ENCODERS.items():
        layers = trained_encoder(problem, model, hidden, generator, max_steps)
        gaps[name] = float(problem.gap(model, problem.encode(layers)))
        if len(hidden) == 1:  # trained jointly, it lies between the other two
            continue
        end = maximise(joint_elbo, [(model, layers)], problem, max_steps=max_steps)
        joint[name] = _joint(problem, model, gaps[name], end.parameters[0], end.value)
    gaps[FREE] = float(problem.gap(model, problem.free(model)))
    end = maximise(free_elbo, [model], problem, max_steps=max_steps)
    joint[FREE] = _joint(problem, model, gaps[FREE], end.parameters, end.value)
    return Inconsistent(
        case.name, likelihood, gaps, jax.tree.map(float, problem.residual(model)), joint, _path(problem, end.path)
    )  # fmt: skip


def trained_encoder(
    problem: Problem, model: Model, hidden: tuple[int, ...], generator: np.random.Generator, max_steps: int
) -> PyTree:  # fmt: skip
    """The encoder with the smallest gap for a fixed model, from random layers."""
    sizes = (model.natural.shape[1], *hidden, NUM_BITS)
    starts = [network(generator, sizes) for _ in range(NUM_STARTS if hidden else 1)]
    return maximise(encoder_elbo, starts, model, problem, max_steps=max_steps).parameters


def _joint(problem: Problem, before: Model, gap: float, after: Model, elbo: float) -> Joint:
    likelihood, end = (float(problem.log_likelihood(model)) for model in (before, after))
    return Joint(
        gap_before=gap,
        gap_after=end - elbo,
        elbo_before=likelihood - gap,
        elbo_after=elbo,
        likelihood_change=end - likelihood,
        residual_after=jax.tree.map(float, problem.residual(after)),
    )


def _path(problem: Problem, models: list[Model]) -> Path:
    columns = zip(*(map(float, _numbers(model, problem)) for model in models), strict=True)
    return Path(*map(list, columns))


@jax.jit
def _numbers(model: Model, problem: Problem) -> tuple[Array, Array, Array]:
    bound, residual = free_elbo(model, problem), problem.residual(model)
    return problem.log_likelihood(model), bound, residual.decoder
