"""Transitions of the chains of annealed importance sampling: each leaves p(z, u) p(x|z)^t invariant."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.types import Array, PRNGKey


class Chains(NamedTuple):
    """The positions of chains, V coordinates of (z, u) flattened, with densities and gradients."""

    position: Array  # [C, B, V]
    log_prior: Array  # [C, B], log p(z, u)
    log_likelihood: Array  # [C, B], log p(x|z)
    prior_gradient: Array  # [C, B, V]
    likelihood_gradient: Array  # [C, B, V]

    def log_density(self, temperature: Array) -> Array:
        """log p(z, u) + t log p(x|z), [C, B]."""
        return self.log_prior + temperature * self.log_likelihood

    def gradient(self, temperature: Array) -> Array:
        """Gradient of `log_density` in the position, [C, B, V]."""
        return self.prior_gradient + temperature * self.likelihood_gradient


Evaluate = Callable[[Array], Chains]  # position -> chains there


def hamiltonian(
    evaluate: Evaluate,
    chains: Chains,
    temperature: Array,
    step_size: Array,
    key: PRNGKey,
    num_leapfrogs: int,
    moves: np.ndarray,
) -> tuple[Chains, Array]:
    """One Hamiltonian path of the coordinates `moves` [V], and its acceptance probability [C, B]. Neal, 2011."""
    momentum_key, step_key, accept_key = jax.random.split(key, 3)
    mask = jnp.asarray(moves, chains.position.dtype)
    momentum = mask * jax.random.normal(momentum_key, chains.position.shape)
    # Paths have random lengths: paths of one length may all return to their start.
    shape = (*chains.log_prior.shape, 1)
    step = step_size[:, None] * jax.random.uniform(step_key, shape, minval=0.8, maxval=1.2)

    def kick(chains: Chains, momentum: Array) -> Array:
        return momentum + 0.5 * step * mask * chains.gradient(temperature)

    def leapfrog(_, carry: tuple[Chains, Array]) -> tuple[Chains, Array]:
        chains, momentum = carry
        momentum = kick(chains, momentum)
        chains = evaluate(chains.position + step * momentum)
        return chains, kick(chains, momentum)

    def log_density(chains: Chains, momentum: Array) -> Array:
        return chains.log_density(temperature) - 0.5 * jnp.sum(momentum**2, axis=-1)

    proposal, end = jax.lax.fori_loop(0, num_leapfrogs, leapfrog, (chains, momentum))
    log_ratio = log_density(proposal, end) - log_density(chains, momentum)
    return _accept(accept_key, log_ratio, proposal, chains)


def informed_flips(
    evaluate: Evaluate,
    chains: Chains,
    temperature: Array,
    key: PRNGKey,
    num_flips: int,
    bits: np.ndarray,
) -> tuple[Chains, Array]:
    """`num_flips` proposals to flip one of the coordinates `bits` [V], and their mean acceptance [C, B].

    The gradient predicts the change of the log density by each flip, d_v = (1 − 2 z_v) ∂_v log π(z). A flip
    is proposed with probability ∝ exp(d_v / 2), and accepted or rejected by Metropolis and Hastings. So
    the prediction affects the speed only. Grathwohl et al., 2021, algorithm 1.
    """

    def log_proposal(chains: Chains) -> Array:
        """[C, B, V], −∞ for coordinates that are no bits."""
        change = (1 - 2 * chains.position) * chains.gradient(temperature)
        logits = jnp.where(bits, jnp.nan_to_num(0.5 * change), -jnp.inf)
        return jax.nn.log_softmax(logits, axis=-1)

    def flip(index: Array, carry: tuple[Chains, Array]) -> tuple[Chains, Array]:
        chains, total = carry
        choice_key, accept_key = jax.random.split(jax.random.fold_in(key, index))
        forward = log_proposal(chains)
        chosen = jax.random.categorical(choice_key, forward)[..., None]
        flipped = jnp.arange(forward.shape[-1]) == chosen
        proposal = evaluate(jnp.where(flipped, 1 - chains.position, chains.position))
        pick = lambda values: jnp.take_along_axis(values, chosen, axis=-1)[..., 0]  # noqa: E731
        log_ratio = proposal.log_density(temperature) - chains.log_density(temperature)
        log_ratio += pick(log_proposal(proposal)) - pick(forward)
        chains, probability = _accept(accept_key, log_ratio, proposal, chains)
        return chains, total + probability

    start = (chains, jnp.zeros_like(chains.log_prior))
    chains, total = jax.lax.fori_loop(0, num_flips, flip, start)
    return chains, total / num_flips


def _accept(
    key: PRNGKey, log_ratio: Array, proposal: Chains, chains: Chains
) -> tuple[Chains, Array]:
    """The proposal where it is accepted, else the old chains, and the acceptance probability [C, B]."""
    # A path that diverges ends in NaN. It is rejected.
    probability = jnp.where(jnp.isnan(log_ratio), 0.0, jnp.exp(jnp.minimum(log_ratio, 0.0)))
    accepted = jax.random.uniform(key, probability.shape) < probability

    def choose(new: Array, old: Array) -> Array:
        return jnp.where(accepted.reshape(*accepted.shape, *[1] * (new.ndim - 2)), new, old)

    return jax.tree.map(choose, proposal, chains), probability
