"""The exact ELBO of a model with few states, as a function of its parts."""

from __future__ import annotations

from typing import NamedTuple

import jax

from experiments.consistency.points import JointModel, Model, Points
from vaelab import theory
from vaelab.types import Array, PyTree

NUM_BITS = 2
FREE = "free bits"  # the encoder that gives each x the best logits of independent bits


class Problem(NamedTuple):
    """The exact ELBO of a family over given points."""

    family: theory.Family
    points: Points
    psi: Array  # [S, m], statistics of the encoder: `theory.binary_states` for independent bits

    @jax.jit
    def log_likelihood(self, model: JointModel) -> Array:
        """E log p(x)."""
        joint = model.log_joint(self.family, self.points.x)
        return self.points.weights @ jax.nn.logsumexp(joint, axis=1)

    @jax.jit
    def elbo(self, model: JointModel, natural: Array) -> Array:
        """E ELBO(x) with the natural parameters of q, [B, m]."""
        return self.points.weights @ theory.exact_bound(*self._tables(model, natural)).elbo

    @jax.jit
    def gap(self, model: JointModel, natural: Array) -> Array:
        """E KL(q(z|x) ‖ p(z|x))."""
        return self.points.weights @ theory.exact_bound(*self._tables(model, natural)).gap

    @jax.jit
    def gap_parts(self, model: JointModel, logits: Array) -> theory.GapParts:
        """The parts of E KL(q(z|x) ‖ p(z|x)) for independent bits."""
        parts = theory.gap_parts(*self._tables(model, logits))
        return theory.GapParts(*(self.points.weights @ part for part in parts))

    @jax.jit
    def free(self, model: JointModel) -> Array:
        """The best logits for each x."""
        return theory.mean_field(model.log_joint(self.family, self.points.x), tolerance=1e-8)

    def encode(self, layers: PyTree) -> Array:
        """e(x) of a network whose layers are listed from the input to the output, [B, m]."""
        return theory.pre_activations(layers[::-1], self.family.statistics(self.points.x))[0]

    @jax.jit
    def residual(self, model: Model) -> theory.ConsistencyResidual:
        log_prior = jax.nn.log_softmax(model.prior)
        return theory.consistency_residual(model.natural, log_prior, self.psi, self.family)

    def _tables(self, model: JointModel, natural: Array) -> tuple[Array, Array]:
        """log p(x, z) and log q(z|x), [B, S]."""
        log_q = theory.encoder_log_prob(natural, self.psi)
        return model.log_joint(self.family, self.points.x), log_q


def encoder_elbo(layers: PyTree, model: JointModel, problem: Problem) -> Array:
    """The ELBO as a function of the encoder."""
    return problem.elbo(model, problem.encode(layers))


def joint_elbo(both: tuple[JointModel, PyTree], problem: Problem) -> Array:
    """The ELBO as a function of the model and the encoder."""
    return encoder_elbo(both[1], both[0], problem)


def free_elbo(model: JointModel, problem: Problem) -> Array:
    """The ELBO with the best bits for each x."""
    return problem.elbo(model, problem.free(model))
