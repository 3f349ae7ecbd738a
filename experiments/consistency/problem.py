"""The exact ELBO of a model with two independent bits, as a function of its parts."""

from __future__ import annotations

from typing import NamedTuple

import jax

from experiments.consistency.optimise import apply
from experiments.consistency.points import Model, Points
from vaelab import theory
from vaelab.types import Array, PyTree

NUM_BITS = 2


class Problem(NamedTuple):
    """The exact ELBO of a family over given points."""

    family: theory.Family
    points: Points

    @property
    def psi(self) -> Array:
        return theory.states(NUM_BITS)

    @jax.jit
    def log_likelihood(self, model: Model) -> Array:
        """E log p(x)."""
        joint = model.log_joint(self.family, self.points.x)
        return self.points.weights @ jax.nn.logsumexp(joint, axis=1)

    @jax.jit
    def elbo(self, model: Model, logits: Array) -> Array:
        """E ELBO(x) with independent bits of the given logits [B, n]."""
        return self.points.weights @ self._exact(model, logits).elbo

    @jax.jit
    def gap(self, model: Model, logits: Array) -> Array:
        """E KL(q(z|x) ‖ p(z|x))."""
        return self.points.weights @ self._exact(model, logits).gap

    @jax.jit
    def free(self, model: Model) -> Array:
        """The best logits for each x."""
        return theory.mean_field(model.log_joint(self.family, self.points.x), tolerance=1e-8)

    def encode(self, layers: PyTree) -> Array:
        return apply(layers, self.family.statistics(self.points.x))

    @jax.jit
    def residual(self, model: Model) -> theory.Residual:
        log_prior = jax.nn.log_softmax(model.prior)
        return theory.consistency_residual(model.natural, log_prior, self.psi, self.family)

    def _exact(self, model: Model, logits: Array) -> theory.Exact:
        log_q = theory.encoder_log_prob(logits, self.psi)
        return theory.exact(model.log_joint(self.family, self.points.x), log_q)


def encoder_elbo(layers: PyTree, model: Model, problem: Problem) -> Array:
    """The ELBO as a function of the encoder."""
    return problem.elbo(model, problem.encode(layers))


def joint_elbo(both: tuple[Model, PyTree], problem: Problem) -> Array:
    """The ELBO as a function of decoder, prior and encoder."""
    return encoder_elbo(both[1], both[0], problem)


def free_elbo(model: Model, problem: Problem) -> Array:
    """The ELBO with the best bits for each x."""
    return problem.elbo(model, problem.free(model))
