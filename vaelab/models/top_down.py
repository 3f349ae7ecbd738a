"""Top-down hierarchies of Gaussian or Bernoulli levels."""

from __future__ import annotations

import abc
import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vaelab.checks import UsageError, check_at_least_one
from vaelab.events import for_events
from vaelab.likelihoods import Decoder
from vaelab.models.base import (
    MODEL,
    PRIOR,
    Latents,
    check_bernoulli,
    check_events,
    check_latents,
    check_level,
    check_no_context,
    with_level,
)
from vaelab.models.learned_prior import OF_LOWER_LEVELS, ModelWithPrior
from vaelab.natural import ExponentialFamily
from vaelab.networks import HierarchyEncoder, LowerPriors, Units
from vaelab.priors import Given, Prior
from vaelab.priors.base import DataRange
from vaelab.types import Antithetic, Array, PRNGKey, PyTree, Terms


@dataclasses.dataclass(frozen=True)
class DecoderInput(abc.ABC):
    """The choice of the levels that p(x|z) depends on."""

    @abc.abstractmethod
    def __call__(self, latents: Latents) -> Array:
        """What the decoder reads. Arrays [..., D_l] -> [..., D]."""


@dataclasses.dataclass(frozen=True)
class BottomLevel(DecoderInput):
    """p(x|z) depends on the bottom level alone, as in a Markov chain z_0 → … → z_m → x."""

    def __call__(self, latents: Latents) -> Array:
        return latents[-1]


@dataclasses.dataclass(frozen=True)
class AllLevels(DecoderInput):
    """p(x|z) depends on all levels."""

    def __call__(self, latents: Latents) -> Array:
        return jnp.concatenate(latents, axis=-1)


class TopDownVAE(ModelWithPrior):
    """p(z_0) Π_i p(z_i|z_i−1) p(x|z) with a posterior q(z_0|x) Π_i q(z_i|x, z_i−1). z_0 is the top level.

    Three choices are values: the units of each level (`GaussianUnits`, `BernoulliUnits`), the posterior
    (`encoder`), and the levels that the decoder reads:

      - `AdditiveEncoder`: the posterior adds natural parameters to those of p(z_i|z_i−1). Ladder VAE. The
        doubly reparameterised gradient is unbiased; for the lower priors its variance is larger than the naive one's.
      - `TopDownEncoder`: q(z_i|x, z_i−1) has its own networks. The two-level VAE with a VampPrior.
      - `IndependentEncoder`: q(z_i|x). The stacked VAE.

    Bernoulli levels are sampled straight through: value of the bit, gradient of the mean. They need a prior
    over bits if they are on top, and have no doubly reparameterised gradient. Flach, 2022, Structured model learning;
    Sønderby et al., 2016; Tomczak & Welling, 2018, section 4; Zhao et al., 2017.

    >>> from vaelab import likelihoods, networks, priors
    >>> model = TopDownVAE(
    ...     units=(networks.GaussianUnits(2), networks.GaussianUnits(4)),
    ...     encoder=networks.AdditiveEncoder((networks.MLP((8,)), networks.MLP((16,)))),
    ...     lower_priors=networks.LowerPriors((networks.MLP((8,)),)),
    ...     decoder=likelihoods.BernoulliDecoder(networks.MLP((16,)), shape=(8, 8, 1)),
    ...     prior=priors.StandardNormal(2),
    ... )
    >>> x, key = jnp.zeros((5, 8, 8, 1)), jax.random.key(0)
    >>> terms, variables = model.init_with_output(key, x, key, num_samples=3)
    >>> terms.log_weights.shape, [z.shape for z in terms.latents]
    ((3, 5), [(3, 5, 2), (3, 5, 4)])

    A `TopDownEncoder` has a trunk for each level, which reads x. Its networks `above` read z_i−1, one for each
    level below the top:

    >>> trunks = networks.MLP((8,)), networks.MLP((16,))
    >>> two_level = model.clone(encoder=networks.TopDownEncoder(trunks, above=(networks.MLP((8,)),)))
    >>> [z.shape for z in two_level.init_with_output(key, x, key)[0].latents]
    [(1, 5, 2), (1, 5, 4)]
    """

    units: tuple[Units, ...]
    """Units of each level, top first."""
    encoder: HierarchyEncoder
    """q(z|x)."""
    lower_priors: LowerPriors
    """p(z_i|z_i−1) of the levels below the top. A model of one level has `LowerPriors(())`."""
    decoder: Decoder
    """p(x|z). Its trunk reads the latents that `reads` chooses."""
    prior: Prior
    """p(z_0)."""
    reads: DecoderInput = BottomLevel()
    """Levels that the decoder reads."""

    def __post_init__(self) -> None:
        self.units = _as_units(self.units)
        super().__post_init__()

    @nn.nowrap
    def check_settings(self) -> None:
        nets = "((networks.MLP((64,)),))"
        _check_kind("encoder", self.encoder, HierarchyEncoder, f"networks.AdditiveEncoder{nets}")
        _check_kind("lower_priors", self.lower_priors, LowerPriors, f"networks.LowerPriors{nets}")
        _check_kind("reads", self.reads, DecoderInput, "models.AllLevels()")
        top, prior = self.units[0], self.prior
        if top.dim != prior.latent_dim:
            raise UsageError(
                f"units[0].dim = {top.dim} and prior.latent_dim = {prior.latent_dim} must be the same "
                "number: the prior is the density of the top level."
            )
        if top.discrete != prior.discrete:
            kind, remedy = (
                ("bits", "BernoulliPrior") if top.discrete else ("real numbers", "StandardNormal")
            )
            raise UsageError(
                f"units[0] = {top} are {kind}, and prior = {type(prior).__name__} is a prior over "
                f"{'real numbers' if top.discrete else 'bits'}: use priors.{remedy}, for example."
            )
        if self.encoder.uses_prior and prior.family is None:
            raise UsageError(
                f"encoder.merge_top needs a prior with natural parameters, and {type(prior).__name__} "
                "has none: use priors.StandardNormal or BernoulliPrior, or leave merge_top False."
            )
        self.encoder.check_levels(len(self.units))
        self.lower_priors.check_levels(len(self.units))

    @nn.nowrap
    def fit_events(self, shape: tuple[int, ...], data_range: DataRange | None) -> None:
        super().fit_events(shape, data_range)
        self.encoder = for_events(self.encoder, shape)

    @property
    def latent_dims(self) -> tuple[int, ...]:
        return tuple(units.dim for units in self.units)

    @property
    def bernoulli_levels(self) -> tuple[int, ...]:
        return tuple(level for level, units in enumerate(self.units) if units.discrete)

    @nn.nowrap
    def parameter_groups(self, params: PyTree) -> PyTree:
        """The distortion depends on the priors only if the posterior contains them."""
        moved = {"prior": self.encoder.uses_prior, "lower_priors": self.encoder.uses_lower_priors}
        return {name: MODEL if moved.get(name, True) else PRIOR for name in params}

    def encode(self, x: Array, context: Array | None = None) -> Any:
        """One array for each level, see `networks.HierarchyEncoder`."""
        check_no_context(self, context)
        check_events(self, x)
        return self.encoder.encode(x, self.units)

    def terms(
        self,
        encoding: Any,
        x: Array,
        key: PRNGKey,
        num_samples: int = 1,
        weights: Array | None = None,
    ) -> Terms:
        check_at_least_one(num_samples=num_samples)
        *keys, prior_key = jax.random.split(key, len(self.units) + 1)

        def draw(level, posterior, prior):
            if prior is None:
                z = posterior.sample(keys[level], (num_samples,))
                return z, posterior.log_prob(z)
            return posterior.sample_and_log_ratio(keys[level], prior)

        latents, log_ratios, kl = self._walk(encoding, draw)
        if weights is not None:
            latents, (log_q, *below) = self.with_weights(encoding, latents, weights)
            pairs = zip(below, self.level_log_lower_priors(latents), strict=True)
            log_ratios = (log_q, *(log_q - log_p for log_q, log_p in pairs))
        return self._terms(x, latents, log_ratios, kl, self.given(prior_key, weights))

    def antithetic_terms(
        self, encoding: Any, x: Array, key: PRNGKey, num_pairs: int = 1
    ) -> Antithetic:
        check_bernoulli(self)
        check_at_least_one(num_pairs=num_pairs)
        *keys, prior_key = jax.random.split(key, len(self.units) + 1)
        pairs = (len(self.bernoulli_levels), 2, num_pairs)
        logits = list[Array | None]()

        def draw(level, posterior, prior):
            units = self.units[level]
            own = self.bernoulli_levels.index(level) if units.discrete else None
            # 1. Both chains of a pair have the same noise, except at the pair's own level.
            shape = (*pairs, len(x), units.dim)
            noise = posterior.noise(keys[level], (pairs[0], 1, *shape[2:]))
            noise = jnp.broadcast_to(noise, shape)
            if own is not None:
                noise = noise.at[own, 1].set(1 - noise[own, 0])
            z = posterior.at(noise.reshape(-1, *shape[3:]))
            # 2. The logits of the level's own pairs, which are equal in both chains.
            parameters = jnp.broadcast_to(posterior.natural_parameters[0], z.shape).reshape(shape)
            logits.append(None if own is None else parameters[own, 0])
            return z, posterior.log_prob(z) - (prior.log_prob(z) if prior else 0.0)

        latents, log_ratios, kl = self._walk(encoding, draw)
        terms = self._terms(x, latents, log_ratios, kl, self.given(prior_key))
        return Antithetic(terms, tuple(logits))

    def _walk(
        self, encoding: Any, draw: Callable[..., tuple[Array, Array]]
    ) -> tuple[Latents, tuple[Array, ...], tuple[Array | None, ...]]:
        """(z, log ratio [...], KL [B, D] or None) of each level, top first.

        Args:
          draw: (level, q(z_level|x, z_level−1), p(z_level|z_level−1)) -> (z, log q − log p of each coordinate). At
            the top p is None, and the ratio is log q.
        """
        top = self._posterior(0, encoding)
        z, log_ratio = draw(0, top, None)
        levels = [(z, jnp.sum(log_ratio, axis=-1), self.prior.kl(self.units[0].distribution(top)))]
        for level in range(1, len(self.units)):
            prior, posterior = self._conditionals(level, encoding, z)
            z, log_ratio = draw(level, posterior, prior)
            kl = jnp.mean(posterior.kl(prior), axis=0)
            levels.append((z, jnp.sum(log_ratio, axis=-1), kl))
        latents, log_ratios, kls = zip(*levels, strict=True)
        return latents, log_ratios, kls

    def _terms(
        self,
        x: Array,
        latents: Latents,
        log_ratios: tuple[Array, ...],
        kl: tuple[Array | None, ...],
        given: Given,
    ) -> Terms:
        log_q, *rates = log_ratios
        likelihood = self.decoder(self.reads(latents))
        return Terms(
            distortion=-likelihood.log_prob(x),
            rate=(log_q - self.prior.log_prob(latents[0], given), *rates),
            kl=kl,
            latents=latents,
            likelihood=likelihood,
        )

    def level_log_posteriors(self, encoding: Any, latents: Latents) -> tuple[Array, ...]:
        check_latents(self, latents)
        families = [self._posterior(0, encoding)]
        for level, above in enumerate(latents[:-1], start=1):
            families.append(self._conditionals(level, encoding, above)[1])
        pairs = zip(families, latents, strict=True)
        return tuple(jnp.sum(family.log_prob(z), axis=-1) for family, z in pairs)

    def decode(self, latents: Latents, context: Array | None = None) -> Any:
        check_no_context(self, context)
        check_latents(self, latents)
        return self.decoder(self.reads(latents))

    def sample_joint(
        self, key: PRNGKey, num_samples: int, context: Array | None = None
    ) -> tuple[Latents, PyTree]:
        """(z_0..z_m, u), u the auxiliary variables of the prior: see `priors.base`."""
        check_no_context(self, context)
        check_at_least_one(num_samples=num_samples)
        keys = jax.random.split(key, len(self.units))
        top, auxiliary = self.prior.sample_joint(keys[0], num_samples, self.given())
        latents = [top]
        for level, level_key in enumerate(keys[1:], start=1):
            latents.append(self._lower_prior(level, latents[-1]).sample(level_key))
        return tuple(latents), auxiliary

    def level_posterior(self, encoding: Any, level: int = 0) -> Any:
        defined = len(self.units) if self.encoder.independent else 1
        check_level(self, level, defined, OF_LOWER_LEVELS)
        return self.units[level].distribution(self._posterior(level, encoding))

    def resample_level(
        self, key: PRNGKey, latents: Latents, level: int = 0, context: Array | None = None
    ) -> Latents:
        check_no_context(self, context)
        if level == 0:
            return super().resample_level(key, latents, level)
        check_latents(self, latents)
        check_level(self, level, len(self.units), "")
        return with_level(latents, level, self._lower_prior(level, latents[level - 1]).sample(key))

    def _posterior(self, level: int, encoding: Any) -> ExponentialFamily:
        """q(z_level|x) of a level that depends on no other level."""
        prior = self.prior.coordinates() if level == 0 and self.prior.family else None
        return self.encoder.posterior(self.units[level], level, encoding, prior)

    def _lower_prior(self, level: int, above: Array) -> ExponentialFamily:
        """p(z_level|z_level−1) of a level below the top."""
        return self.lower_priors(self.units[level], level, above)

    def _conditionals(
        self, level: int, encoding: Any, above: Array
    ) -> tuple[ExponentialFamily, ExponentialFamily]:
        """p(z_level|z_level−1) and q(z_level|x, z_level−1), of parameters [..., B, D]."""
        prior = self._lower_prior(level, above)
        posterior = self.encoder.posterior(self.units[level], level, encoding, prior, above)
        shape = (*above.shape[:-1], self.units[level].dim)
        posterior = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, shape), posterior)
        return prior, posterior

    def level_log_lower_priors(self, latents: Latents) -> tuple[Array, ...]:
        return tuple(
            jnp.sum(self._lower_prior(level, above).log_prob(z), axis=-1)
            for level, (above, z) in enumerate(itertools.pairwise(latents), start=1)
        )


def _check_kind(name: str, value: Any, kind: type, example: str) -> None:
    if not isinstance(value, kind):
        raise UsageError(f"{name} must be a {kind.__name__}, such as {example}, got {value!r}.")


def _as_units(units: Any) -> tuple[Units, ...]:
    units = tuple(units) if isinstance(units, Sequence) else (units,)
    if not units:
        raise UsageError(
            "units must hold at least one level, such as (GaussianUnits(40),), got ()."
        )
    for each in units:
        if not isinstance(each, Units):
            raise UsageError(
                f"units must hold networks.Units, such as GaussianUnits(40), got {each!r}."
            )
    return units
