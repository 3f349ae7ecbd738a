"""Two independent bits for four Gaussians: which decoders ELBO training prefers."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.consistency.optimise import ENCODERS, apply, maximise, network
from experiments.consistency.points import Model, Points, quadrature
from vaelab import theory
from vaelab.types import Array, PyTree

# μ_00, μ_01, μ_10, μ_11. Of the three ways to give bits to four points, two have this residual, and it is the smallest.
MEANS = ((-1.0, 0.0), (0.0, 0.0), (1.0, -1.0), (1.0, 1.0))
FREE, ALL_STATES = "free bits", "all states"
SIGMAS = (0.8, 0.3)


class Rectangle(NamedTuple):
    """`theory.RectangleResidual` as numbers."""

    sides: float
    diagonals: float


class Trained(NamedTuple):
    """Joint training of the means and an encoder that starts at the means of the data. In nats."""

    elbo_before: float  # with the encoder trained for the first means
    elbo_after: float
    likelihood_change: float
    approximation_before: float  # gap of the best bits for each x
    approximation_after: float
    amortisation_before: float  # the rest of the gap
    amortisation_after: float
    residual: Rectangle  # after
    means: list[list[float]]  # after, [4, 2]


class FourGaussians(NamedTuple):
    """The toy at one σ."""

    sigma: float
    log_likelihood: float  # its largest value
    residual: Rectangle  # of the data
    trained: dict[str, Trained]  # by encoder
    path: list[list[list[float]]]  # means before and after each step with the free bits, [T, 4, 2]


class Toy(NamedTuple):
    """Exact expectations over the mixture."""

    family: theory.GaussianFamily
    points: Points

    def log_joint(self, means: Array) -> Array:
        return self.family.log_prob(self.points.x, self.family.natural(means)) - jnp.log(4.0)

    def mean(self, values: Array) -> Array:
        return self.points.weights @ values

    def elbo(self, means: Array, logits: Array, psi: Array) -> Array:
        log_q = theory.encoder_log_prob(logits, psi)
        return self.mean(theory.exact(self.log_joint(means), log_q).elbo)

    @jax.jit
    def best_elbo(self, means: Array) -> Array:
        """With the best bits for each x."""
        log_joint = self.log_joint(means)
        log_q = theory.encoder_log_prob(
            theory.mean_field(log_joint, tolerance=1e-8), theory.states(2)
        )
        return self.mean(theory.exact(log_joint, log_q).elbo)

    @jax.jit
    def log_likelihood(self, means: Array) -> Array:
        return self.mean(jax.nn.logsumexp(self.log_joint(means), axis=1))


def free_elbo(means: Array, toy: Toy) -> Array:
    """The ELBO with the best bits for each x."""
    return toy.best_elbo(means)


def encoder_elbo(layers: PyTree, means: Array, toy: Toy) -> Array:
    """The ELBO with an encoder of two independent bits."""
    return toy.elbo(means, apply(layers, toy.points.x), theory.states(2))


def joint_elbo(both: tuple[Array, PyTree], toy: Toy) -> Array:
    """The same as a function of means and encoder."""
    return encoder_elbo(both[1], both[0], toy)


def states_elbo(both: tuple[Array, theory.Affine], toy: Toy) -> Array:
    """The ELBO with an encoder over the four states."""
    return toy.elbo(both[0], both[1](toy.points.x), jnp.eye(4))


def four_gaussians(
    sigma: float, seed: int, *, num_nodes: int = 24, max_steps: int = 200
) -> FourGaussians:
    """Every encoder at one σ."""
    generator = np.random.default_rng([seed, 2])
    family, means = theory.GaussianFamily(sigma**2), jnp.asarray(MEANS)
    points = quadrature(family, num_nodes, Model(family.natural(means), jnp.zeros(4)))
    toy = Toy(family, points)
    likelihood, best = float(toy.log_likelihood(means)), toy.best_elbo

    def trained(
        elbo_before: float, after: Array, elbo_after: float, *, bits: bool = True
    ) -> Trained:
        """The numbers of an encoder; over all states, there is no approximation gap."""
        ends = [likelihood, float(toy.log_likelihood(after))]
        tops = [float(best(means)), float(best(after))] if bits else ends
        return Trained(
            elbo_before, elbo_after, ends[1] - ends[0], ends[0] - tops[0], ends[1] - tops[1],
            tops[0] - elbo_before, tops[1] - elbo_after, _floats(theory.rectangle_residual(after)),
            np.asarray(after).tolist(),
        )  # fmt: skip

    free = maximise(free_elbo, [means], toy, max_steps=max_steps)
    found = {FREE: trained(float(best(means)), free.parameters, free.value)}
    for name, hidden in ENCODERS.items():
        starts = [network(generator, (2, *hidden, 2)) for _ in range(3 if hidden else 1)]
        first = maximise(encoder_elbo, starts, means, toy, max_steps=max_steps)
        end = maximise(joint_elbo, [(means, first.parameters)], toy, max_steps=max_steps)
        found[name] = trained(first.value, end.parameters[0], end.value)
    # An encoder over four states is affine in x: the posterior's logits are ⟨x, μ_z⟩/σ² − ‖μ_z‖²/(2σ²).
    exact = theory.Affine(means.T / sigma**2, -0.5 * jnp.sum(means**2, axis=1) / sigma**2)

    start = (means, exact)
    end = maximise(states_elbo, [start], toy, max_steps=max_steps)
    found[ALL_STATES] = trained(
        float(states_elbo(start, toy)), end.parameters[0], end.value, bits=False
    )
    path = [np.asarray(step).tolist() for step in free.path]
    return FourGaussians(sigma, likelihood, _floats(theory.rectangle_residual(means)), found, path)


def _floats(residual: theory.RectangleResidual) -> Rectangle:
    return Rectangle(*map(float, residual))
