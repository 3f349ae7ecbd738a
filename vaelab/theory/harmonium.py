"""The consistent set: models whose exact posterior belongs to the encoder's exponential family.

Theorem 1: these models are exponential-family harmoniums,
`p(x, z) ∝ h(x) h'(z) exp(⟨ν(x), Wψ(z)⟩ + ⟨ν(x), u⟩ + ⟨ψ(z), v⟩)`. Decoder, prior and encoder follow from W, u, v.
The prior is not free. Flach, 2022, Structured model learning variational autoencoders; Welling et al., 2004, for
the harmonium.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.checks import UsageError, check_equal
from vaelab.theory.families import Family
from vaelab.types import Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Harmonium:
    """A model in the consistent set, over states with the statistics ψ(z).

    >>> from vaelab.theory import BernoulliFamily, encoder_log_prob, exact_bound, binary_states
    >>> model = Harmonium(jnp.array([[2.0, -1.0]]), jnp.zeros(1), jnp.zeros(2), binary_states(2), BernoulliFamily())
    >>> x = jnp.array([[0.0], [1.0]])
    >>> found = exact_bound(model.log_joint(x), encoder_log_prob(model.encode(x), model.psi))
    >>> bool(jnp.max(found.gap) < 1e-6)
    True
    """

    W: Array
    """Coupling of ν(x) and ψ(z), [N, m]."""
    u: Array
    """Natural parameters of x at ψ(z) = 0, [N]."""
    v: Array
    """Natural parameters of z at ν(x) = 0, [m]."""
    psi: Array
    """Statistics of all states, [S, m]."""
    family: Family
    """Family of x."""

    def __post_init__(self) -> None:
        shapes = [np.shape(value) for value in (self.W, self.u, self.v, self.psi)]
        if [len(shape) for shape in shapes] != [2, 1, 1, 2]:
            return  # trees of other leaves, which JAX makes
        (rows, columns), (num_u,), (num_v,), (_, num_psi) = shapes
        check_equal(rows_of_W=rows, length_of_u=num_u)
        check_equal(columns_of_W=columns, length_of_v=num_v, columns_of_psi=num_psi)

    @property
    def natural(self) -> Array:
        """The decoder: d(z) = Wψ(z) + u of all states, [S, N]."""
        return self.psi @ self.W.T + self.u

    @property
    def log_prior(self) -> Array:
        """log p(z) = ⟨ψ(z), v⟩ + A(Wψ(z) + u) + const., [S]: the marginal of the joint distribution, with h' = 1."""
        return jax.nn.log_softmax(self.psi @ self.v + self.family.log_partition(self.natural))

    def encode(self, x: Array) -> Array:
        """The encoder: e(x) = Wᵀν(x) + v. [B, D] -> [B, m].

        Raises:
          UsageError: ν(x) and W differ in length.
        """
        statistics = self.family.statistics(x)
        if statistics.shape[-1] != len(self.W):
            raise UsageError(
                f"x has statistics of the shape {statistics.shape} and W has the shape {self.W.shape}: "
                "give x [B, D] with one statistic for each row of W."
            )
        return statistics @ self.W + self.v

    def log_joint(self, x: Array) -> Array:
        """log p(x, z). [B, D] -> [B, S]."""
        return self.log_prior + self.family.log_prob(x, self.natural)


class ConsistencyResidual(NamedTuple):
    """Distance of a model from the consistent set: root mean squares under p(z). Both are 0 on the set."""

    decoder: Array  # [], of the part of d(z) that is not affine in ψ(z), in natural parameters
    prior: Array  # [], of the part of log p(z) − A(d(z)) that is not affine in ψ(z), nats


def consistency_residual(
    natural: Array, log_prior: Array, psi: Array, family: Family, log_base: Array | float = 0.0
) -> ConsistencyResidual:
    """How far decoder and prior are from Theorem 1, by least squares over all states, weighted with p(z).

    The posterior is `log p(z|x) = ⟨ν(x), d(z)⟩ − A(d(z)) + log p(z) + const.` It is in the encoder's family for all x if
    d(z) and log p(z) − A(d(z)) − log h'(z) are affine in ψ(z). This is necessary too if the statistics ν are linearly independent.

    Args:
      natural: d(z) of all states, [S, N].
      log_prior: log p(z), [S].
      psi: ψ(z), [S, m].
      family: family of x.
      log_base: log h'(z), [S].

    Raises:
      UsageError: the tables have another number of states.

    >>> from vaelab.theory import GaussianFamily, binary_states
    >>> square = jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> found = consistency_residual(square, jnp.full(4, -jnp.log(4.0)), binary_states(2), GaussianFamily(1.0))
    >>> bool(found.decoder < 1e-6), bool(found.prior < 1e-6)
    (True, True)
    """
    check_equal(
        states_of_natural=len(natural), states_of_log_prior=len(log_prior), states_of_psi=len(psi)
    )
    affine = jnp.concatenate([psi, jnp.ones((len(psi), 1), psi.dtype)], axis=1)
    target = jnp.concatenate(
        [natural, (log_prior - family.log_partition(natural) - log_base)[:, None]], axis=1
    )
    root = jnp.exp(0.5 * log_prior)[:, None]
    coefficients, *_ = jnp.linalg.lstsq(root * affine, root * target)
    squares = jnp.sum((root * (target - affine @ coefficients)) ** 2, axis=0)
    return ConsistencyResidual(jnp.sqrt(jnp.sum(squares[:-1])), jnp.sqrt(squares[-1]))


class RectangleResidual(NamedTuple):
    """Two bits and four means with one σ: both parts are 0 if and only if the means form a rectangle."""

    sides: Array  # [], ‖μ_00 + μ_11 − μ_01 − μ_10‖: 0 for a parallelogram
    diagonals: Array  # [], ‖μ_00‖² + ‖μ_11‖² − ‖μ_01‖² − ‖μ_10‖²


def rectangle_residual(means: Array) -> RectangleResidual:
    """The distance of four means μ_00, μ_01, μ_10, μ_11 from a rectangle. [4, D] -> [], [].

    It is `consistency_residual` for Gaussian x and a uniform prior, in units of x. A parallelogram with the second
    part 0 has diagonals of equal length, so it is a rectangle.

    Raises:
      UsageError: there are not four means.

    >>> [float(part) for part in rectangle_residual(jnp.array([[-1.0, 0], [0, 0], [1, -1], [1, 1]]))]
    [2.2360680103302, 1.0]
    """
    if means.ndim != 2 or len(means) != 4:
        raise UsageError(
            f"means must be [4, D], one for each state of two bits, got {means.shape}."
        )
    signs = jnp.array([1.0, -1.0, -1.0, 1.0], means.dtype)
    return RectangleResidual(jnp.linalg.norm(signs @ means), signs @ jnp.sum(means**2, axis=1))
