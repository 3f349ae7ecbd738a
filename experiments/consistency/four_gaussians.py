"""Two independent bits for four Gaussians: which decoders ELBO training prefers."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.consistency.optimise import ENCODERS, maximise, network
from experiments.consistency.points import Model, quadrature
from experiments.consistency.problem import (
    FREE,
    NUM_BITS,
    Problem,
    encoder_elbo,
    free_elbo,
    joint_elbo,
)
from vaelab import theory
from vaelab.types import Array

# μ_00, μ_01, μ_10, μ_11. Of the three ways to give bits to four points, two have this residual, and it is the smallest.
MEANS = ((-1.0, 0.0), (0.0, 0.0), (1.0, -1.0), (1.0, 1.0))
ALL_STATES = "all states"
SIGMAS = (0.8, 0.3)
NUM_NODES = 40  # of the quadrature, in each direction and for each state


class Trained(NamedTuple):
    """Joint training of the means and an encoder that starts at the means of the data. In nats."""

    elbo_before: float  # with the encoder trained for the first means
    elbo_after: float
    likelihood_change: float
    approximation_before: float  # gap of the best bits for each x
    approximation_after: float
    amortisation_before: float  # the rest of the gap
    amortisation_after: float
    residual: theory.RectangleResidual  # after
    means: list[list[float]]  # after, [4, 2]


class FourGaussians(NamedTuple):
    """The toy at one σ."""

    sigma: float
    log_likelihood: float  # its largest value
    residual: theory.RectangleResidual  # of the data
    trained: dict[str, Trained]  # by encoder
    path: list[list[list[float]]]  # means before and after each step with the free bits, [T, 4, 2]


class Means(NamedTuple):
    """A Gaussian around each mean, and a uniform prior."""

    values: Array  # [4, 2]

    def log_joint(self, family: theory.GaussianFamily, x: Array) -> Array:
        """log p(x, z). [B, 4]."""
        return self.tables(family).log_joint(family, x)

    def tables(self, family: theory.GaussianFamily) -> Model:
        """The same as tables over all states."""
        return Model(family.natural(self.values), jnp.zeros(len(self.values)))


def four_gaussians(
    sigma: float, seed: int, *, num_nodes: int = NUM_NODES, max_steps: int = 200
) -> FourGaussians:
    """Every encoder at one σ."""
    generator = np.random.default_rng([seed, 2])
    family, means = theory.GaussianFamily(sigma**2), Means(jnp.asarray(MEANS))
    points = quadrature(family, num_nodes, means.tables(family))
    bits = Problem(family, points, theory.binary_states(NUM_BITS))

    free = maximise(free_elbo, [means], bits, max_steps=max_steps)
    ends = ((means, bits.free(means)), (free.parameters, bits.free(free.parameters)))
    found = {FREE: _trained(bits, bits.gap_parts, *ends)}
    for name, hidden in ENCODERS.items():
        starts = [network(generator, (2, *hidden, 2)) for _ in range(3 if hidden else 1)]
        first = maximise(encoder_elbo, starts, means, bits, max_steps=max_steps)
        end = maximise(joint_elbo, [(means, first.parameters)], bits, max_steps=max_steps)
        after, layers = end.parameters
        ends = ((means, bits.encode(first.parameters)), (after, bits.encode(layers)))
        found[name] = _trained(bits, bits.gap_parts, *ends)

    # An encoder over four states is affine in x: the posterior's logits are ⟨x, μ_z⟩/σ² − ‖μ_z‖²/(2σ²).
    states = bits._replace(psi=jnp.eye(4))
    weights, squares = means.values.T / sigma**2, jnp.sum(means.values**2, axis=1)
    exact = (theory.Affine(weights, -0.5 * squares / sigma**2),)
    after, layers = maximise(joint_elbo, [(means, exact)], states, max_steps=max_steps).parameters
    ends = ((means, states.encode(exact)), (after, states.encode(layers)))

    def all_amortisation(model: Means, natural: Array) -> theory.GapParts:
        """q over all states may be any distribution, so there is no approximation gap."""
        return theory.GapParts(jnp.zeros(()), states.gap(model, natural))

    found[ALL_STATES] = _trained(states, all_amortisation, *ends)
    return FourGaussians(
        sigma,
        float(bits.log_likelihood(means)),
        jax.tree.map(float, theory.rectangle_residual(means.values)),
        found,
        [np.asarray(step.values).tolist() for step in free.path],
    )


def _trained(
    problem: Problem,
    gaps: Callable[[Means, Array], theory.GapParts],
    before: tuple[Means, Array],
    after: tuple[Means, Array],
) -> Trained:
    """The numbers of two models, each with the natural parameters of q for each x."""
    first, last = (jax.tree.map(float, gaps(*each)) for each in (before, after))
    likelihoods = [float(problem.log_likelihood(model)) for model, _ in (before, after)]
    return Trained(
        elbo_before=float(problem.elbo(*before)),
        elbo_after=float(problem.elbo(*after)),
        likelihood_change=likelihoods[1] - likelihoods[0],
        approximation_before=first.approximation,
        approximation_after=last.approximation,
        amortisation_before=first.amortisation,
        amortisation_after=last.amortisation,
        residual=jax.tree.map(float, theory.rectangle_residual(after[0].values)),
        means=np.asarray(after[0].values).tolist(),
    )
