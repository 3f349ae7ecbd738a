"""Proposals that are fitted to p(x, z) for each example."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtri
from scipy.stats import qmc

from vaelab.checks import UndefinedError, UsageError, check_at_least_one, check_not_negative
from vaelab.evaluation.ascent import ascend
from vaelab.evaluation.full_gaussian import FullGaussian, with_curvature
from vaelab.evaluation.proposals import Proposal, Stratum
from vaelab.models import Model
from vaelab.models.base import Latents
from vaelab.types import Array, Examples, PRNGKey

_NUM_DRAWS = 64  # of q(z|x), for the mean and the scale to start from
# A covariance has D² entries for each example, and its fit takes 2D gradients.
_MAX_COORDINATES = 512


@dataclasses.dataclass(frozen=True)
class Refined(Proposal):
    """r(z|x) = (1 − a) N(z; m, S) + a q(z|x), with m and a full covariance S fitted to each example.

    m starts at the mean of q(z|x), climbs log p(x, z) and ends with a Newton step. S⁻¹ is the curvature
    −∇² log p(x, z), averaged over the spread of the proposal. The samples of N(m, S) are quasi-random: Sobol
    points with a random shift for each example. The share a is drawn from q(z|x), so weights are bounded by
    those of q(z|x) over a. All weights are p̂(x, z) / r(z|x) of the whole mixture.

    The fit uses other random numbers than the samples, and each shifted point is uniform. So the mean of the
    weights is an unbiased estimate of p(x), and its logarithm is in expectation a lower bound. This holds for
    a prior with an unbiased estimate of p(z), too: the fit holds the prior's noise fixed, and the weights
    draw new noise. All levels of a hierarchy are fitted jointly. Kim et al., 2018, Semi-amortized variational
    autoencoders; Hesterberg, 1995, Weighted average importance sampling and defensive mixture distributions;
    Owen & Zhou, 2000, Safe and effective importance sampling.

    >>> Refined().label
    'Gaussian fitted to each example, 10 % from q(z|x)'
    """

    num_steps: int = 20
    """Number of gradient steps of m."""
    num_newton_steps: int = 1
    """Number of Newton steps, each with 2D gradients at points around m. Each fits S again."""
    defensive: float = 0.1
    """Share a of the samples that are drawn from q(z|x)."""

    def __post_init__(self) -> None:
        check_not_negative(num_steps=self.num_steps)
        check_at_least_one(num_newton_steps=self.num_newton_steps)
        if not 0 <= self.defensive < 1:
            raise UsageError(f"defensive must lie in [0, 1), got {self.defensive}.")

    @property
    def label(self) -> str:
        share = f", {100 * self.defensive:g} % from q(z|x)" if self.defensive else ""
        return f"Gaussian fitted to each example{share}"

    def check(self, model: Model) -> None:
        if model.bernoulli_levels:
            raise UndefinedError(
                "a refined proposal is a Gaussian, and latents of this model are bits: use "
                "evaluation.Amortised()."
            )
        num_coordinates = sum(model.latent_dims)
        if num_coordinates > _MAX_COORDINATES:
            raise UndefinedError(
                f"a refined proposal has a full covariance over at most {_MAX_COORDINATES} latent "
                f"coordinates, and the model has {num_coordinates}: use evaluation.Amortised()."
            )

    def strata(
        self, bind: Callable[[], Model], examples: Examples, key: PRNGKey, num_samples: int
    ) -> tuple[Stratum, ...]:
        x, context = examples.x, examples.context
        bound = bind()
        fit_key, shift_key = jax.random.split(key)
        encoding = bound.encode(x, context)
        fitted = self.fit(bind, encoding, examples, fit_key)
        # At least one sample comes from the fitted Gaussian.
        num_defensive = min(int(np.ceil(self.defensive * num_samples)), num_samples - 1)
        num_fitted = num_samples - num_defensive
        shift = jax.random.uniform(shift_key, fitted.mean.shape)
        points = jnp.asarray(_sobol(num_fitted, fitted.mean.shape[-1]))

        def log_proposal(log_r: Array, log_q: Array) -> Array:
            if not num_defensive:
                return log_r
            share = num_defensive / num_samples
            return jnp.logaddexp(np.log1p(-share) + log_r, np.log(share) + log_q)

        def of_fitted(index: Array, key: PRNGKey) -> Array:
            bound = bind()
            rows = points[jnp.minimum(index, num_fitted - 1)]
            noise = _normal((rows[:, None] + shift) % 1.0)
            latents = split(fitted.at(noise), bound.latent_dims)
            log_joint = bound.log_prior(latents, key, context)
            log_joint += bound.decode(latents, context).log_prob(x)
            log_q = bound.log_posterior(encoding, latents)
            return log_joint - log_proposal(fitted.log_prob_at(noise), log_q)

        def of_posterior(index: Array, key: PRNGKey) -> Array:
            bound = bind()
            terms = bound.terms(encoding, x, key, len(index))
            log_q = bound.log_posterior(encoding, terms.latents)
            log_r = fitted.log_prob(jnp.concatenate(terms.latents, axis=-1))
            return terms.log_weights + log_q - log_proposal(log_r, log_q)

        strata = (Stratum(num_fitted, of_fitted), Stratum(num_defensive, of_posterior))
        return tuple(stratum for stratum in strata if stratum.num_samples)

    def fit(
        self, bind: Callable[[], Model], encoding: object, examples: Examples, key: PRNGKey
    ) -> FullGaussian:
        """N(m, S) for each example of a batch."""
        x, context = examples.x, examples.context
        draw_key, prior_key = jax.random.split(key)
        latents = bind().terms(encoding, x, draw_key, _NUM_DRAWS).latents
        draws = jnp.concatenate(latents, axis=-1)
        dims = [z.shape[-1] for z in latents]
        start, scale = jnp.mean(draws, axis=0), jnp.std(draws, axis=0)

        def log_joint(z: Array) -> Array:
            """log p(x, z), the same noise of an estimated prior at every z. [B, D] -> [B]."""
            bound, latents = bind(), split(z, dims)
            log_prior = bound.log_prior(latents, prior_key, context)
            return log_prior + bound.decode(latents, context).log_prob(x)

        mean = ascend(log_joint, start, scale, num_steps=self.num_steps)
        fitted = FullGaussian.diagonal(mean, scale)
        for _ in range(self.num_newton_steps):
            fitted = with_curvature(log_joint, fitted)
        return fitted.where_finite(FullGaussian.diagonal(start, scale))


def split(z: Array, dims: list[int] | tuple[int, ...]) -> Latents:
    """A latent vector [..., ΣD_l] as a tuple of levels [..., D_l]."""
    return tuple(jnp.split(z, np.cumsum(dims)[:-1], axis=-1))


def _sobol(num_points: int, dim: int) -> np.ndarray:
    """The first points of the Sobol sequence in [0, 1)^dim, [num_points, dim]."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The balance properties of Sobol")
        return qmc.Sobol(dim, scramble=False).random(num_points).astype(np.float32)


def _normal(uniform: Array) -> Array:
    """Standard normal numbers from numbers in [0, 1). The infinite one, at 0, is moved to −5.4."""
    return ndtri(jnp.maximum(uniform, 2.0**-25))
