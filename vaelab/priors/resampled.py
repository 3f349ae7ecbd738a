"""The resampled prior (LARS)."""

from __future__ import annotations

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from vaelab.checks import UsageError, check_at_least_one, check_sizes
from vaelab.networks import MLP
from vaelab.priors.base import DataRange, Given, Prior, check_continuous
from vaelab.priors.standard import StandardNormal
from vaelab.separate import check_modules
from vaelab.types import Array, PRNGKey, PyTree


class ResampledPrior(Prior):
    """Draws from a proposal π that are accepted with probability a(z). The T-th try is always accepted.

      p(z) = (1 − α) π(z) a(z)/Z + α π(z),   Z = ∫ π a,   α = (1 − Z)^(T−1).

    Z is unknown, so the prior is the marginal of a joint density of z and the other T − 1 tries u [T−1, D].
    Tries before z were refused, and tries after z were never examined:

      p(z, u) = π(z) π(u) [a(z) Σ_{t=0}^{T−2} Π_{s≤t} (1 − a(u_s)) + Π_{s≤T−1} (1 − a(u_s))].

    log_prob averages p(z, u)/π(u) over S = `num_samples` draws u ~ π before the log. This is unbiased for
    p(z); an estimate of Z in the formula of p(z) would not be. Bauer & Mnih, 2019, eq. 4 and 7.

    The parameters of π get gradients through π(z) and, by importance weights of u, through Z. The draws u are
    constants, so that any proposal works. At the start a = ½ and p = π.

    >>> prior, key = ResampledPrior(latent_dim=2), jax.random.key(0)
    >>> log_prob, variables = prior.init_with_output(key, jnp.zeros((5, 2)))
    >>> log_prob.shape, prior.apply(variables, key, 7, method="sample").shape
    ((5,), (7, 2))
    """

    proposal: Prior = None  # type: ignore[assignment]  # filled in below
    """Proposal π, whose log_prob must be exact. Left out, it is standard normal."""
    max_tries: int = 32
    """Number of tries T. The last try is always accepted."""
    num_samples: int = 4
    """Number S of draws of the other tries for each z."""
    hidden: tuple[int, ...] = (64,)
    """Widths of the tanh layers of the network of a."""

    def __post_init__(self) -> None:
        check_modules(self)
        check_at_least_one(max_tries=self.max_tries, num_samples=self.num_samples)
        check_sizes(hidden=self.hidden)
        if self.proposal is None:
            self.proposal = StandardNormal(self.latent_dim, parent=None)
        check_continuous("proposal", self.proposal)
        if not self.proposal.exact:
            raise UsageError(
                f"proposal must have an exact log_prob, and {type(self.proposal).__name__} has not: "
                "choose another prior, for example StandardNormal or FlowPrior."
            )
        if self.proposal.latent_dim != self.latent_dim:
            raise UsageError(
                f"proposal.latent_dim = {self.proposal.latent_dim} and latent_dim = "
                f"{self.latent_dim} must be the same number."
            )
        super().__post_init__()

    def setup(self) -> None:
        self.trunk = MLP(self.hidden, activation=nn.tanh)
        self.head = nn.Dense(1, kernel_init=nn.initializers.zeros)

    def log_prob(self, z: Array, given: Given = Given()) -> Array:
        self.check_arguments(z, given)
        if given.key is None:
            raise UsageError(
                "ResampledPrior.log_prob estimates p(z) by sampling: pass Given(key=key)."
            )
        shape = (self.num_samples, *z.shape[:-1], self.max_tries - 1)
        of_proposal = Given(encode=given.encode)
        log_proposal, log_odds = self.proposal.log_prob(z, of_proposal), self._log_odds(z)
        if self.max_tries == 1:
            return log_proposal
        u = jax.lax.stop_gradient(self.proposal.sample(given.key, math.prod(shape), of_proposal))
        log_refused = jax.nn.log_sigmoid(-self._log_odds(u))
        if self.proposal.variables:
            # 1 − a(u) with an importance weight whose value is 1 and whose gradient is that of log π(u).
            log_weight = self.proposal.log_prob(u, of_proposal)
            log_refused += log_weight - jax.lax.stop_gradient(log_weight)
        log_share = _log_share(log_odds, log_refused.reshape(shape))
        return log_proposal + logsumexp(log_share, axis=0) - jnp.log(self.num_samples)

    def sample(self, key: PRNGKey, num_samples: int, given: Given = Given()) -> Array:
        return self.sample_joint(key, num_samples, given)[0]

    def sample_joint(
        self, key: PRNGKey, num_samples: int, given: Given = Given()
    ) -> tuple[Array, PyTree]:
        """(z, the other tries in order [num_samples, T−1, D])."""
        self.check_arguments(given=given)
        check_at_least_one(num_samples=num_samples)
        try_key, accept_key = jax.random.split(key)
        tries = self.proposal.sample(
            try_key, num_samples * self.max_tries, Given(encode=given.encode)
        )
        tries = tries.reshape(num_samples, self.max_tries, self.latent_dim)
        log_odds = self._log_odds(tries)
        accepted = jax.random.logistic(accept_key, log_odds.shape, log_odds.dtype) < log_odds
        first = jnp.argmax(accepted.at[:, -1].set(True), axis=1)[:, None]
        others = jnp.arange(self.max_tries - 1)
        others = others + (others >= first)
        take = lambda index: jnp.take_along_axis(tries, index[..., None], axis=1)  # noqa: E731
        return take(first)[:, 0], take(others)

    def joint_log_prob(self, z: Array, auxiliary: PyTree, given: Given = Given()) -> Array:
        self.check_arguments(z, given)
        u, of_proposal = auxiliary, Given(encode=given.encode)
        log_share = _log_share(self._log_odds(z), jax.nn.log_sigmoid(-self._log_odds(u)))
        log_proposals = jnp.sum(self.proposal.log_prob(u, of_proposal), axis=-1)
        return self.proposal.log_prob(z, of_proposal) + log_proposals + log_share

    @nn.nowrap
    def for_events(self, shape: tuple[int, ...], data_range: DataRange | None) -> Prior:
        proposal = self.proposal.for_events(shape, data_range)
        return self if proposal is self.proposal else self.clone(parent=None, proposal=proposal)

    @property
    def starts_from_data(self) -> bool:
        return self.proposal.starts_from_data

    def start_from(self, params: PyTree, x: Array, key: PRNGKey) -> PyTree:
        if "proposal" not in params:
            return params
        return params | {"proposal": self.proposal.start_from(params["proposal"], x, key)}

    def summary(self, params: PyTree) -> dict[str, Array]:
        """The summary of `proposal`, under names that begin with "proposal_"."""
        inner = self.proposal.summary(params.get("proposal", {}))
        return {f"proposal_{name}": value for name, value in inner.items()}

    def with_num_samples(self, num_samples: int) -> Prior:
        return self.clone(num_samples=num_samples)

    def _log_odds(self, z: Array) -> Array:
        """log a/(1 − a). [..., D] -> [...]."""
        return self.head(self.trunk(z))[..., 0]


def _log_share(log_odds: Array, log_refused: Array) -> Array:
    """log of the bracket in p(z, u), from the log-odds of a at z and log (1 − a) at u.

    [...], [..., T−1] -> [...].
    """
    if log_refused.shape[-1] == 0:
        return jnp.zeros_like(log_odds)  # one try, always accepted
    sums = jnp.cumsum(log_refused, axis=-1)  # log Π_{s≤t} for t = 1 … T−1
    before = jnp.concatenate([jnp.zeros_like(sums[..., :1]), sums[..., :-1]], axis=-1)
    accepted = jax.nn.log_sigmoid(log_odds) + logsumexp(before, axis=-1)
    return jnp.logaddexp(accepted, sums[..., -1])
