"""The variational ladder autoencoder: independent codes that enter a generator at different depths."""

from __future__ import annotations

from typing import Any

import distrax
import flax.linen as nn
import jax

from vaelab.checks import UsageError, check_at_least_one
from vaelab.events import for_events
from vaelab.likelihoods import Decoder
from vaelab.models.base import (
    Latents,
    check_events,
    check_latents,
    check_level,
    check_no_context,
)
from vaelab.models.learned_prior import ModelWithPrior
from vaelab.networks.ladder import LadderEncoder, LadderGenerator
from vaelab.priors import Prior, StandardNormal
from vaelab.priors.base import DataRange
from vaelab.types import Array, PRNGKey, PyTree, Terms

Encoding = tuple[distrax.Independent, ...]  # q(z_l|x) of each level, top first


class VLAE(ModelWithPrior):
    """p(x, z_1..z_L) = p(x|h_1) Π_l p(z_l), and q(z_1..z_L|x) = Π_l q(z_l|x). Levels are independent.

    The generator has h_L = f_L(z_L), h_l = f_l(h_{l+1}, z_l). The encoder has ĥ_l = e_l(ĥ_{l−1}), ĥ_0 = x,
    and q(z_l|x) reads ĥ_l. So a code on top passes through all networks, and a code at the bottom through
    one. The priors of the levels below the top are N(0, I). That of the top level is any prior.
    Zhao et al., 2017, Learning hierarchical features from deep generative models, section 5.

    All levels are listed top first: level 0 is z_L, the deepest. The paper counts from the bottom. The
    decoder's trunk reads h_1: `networks.Identity()` for feature maps, `MLP(())` for vectors, or more layers.

    >>> import jax.numpy as jnp
    >>> from vaelab import likelihoods, networks, priors
    >>> model = VLAE(
    ...     encoder=networks.LadderEncoder((networks.MLP((16,)), networks.MLP((16,))), dims=(2, 3)),
    ...     generator=networks.LadderGenerator((networks.MLP((16,)), networks.MLP((16,)))),
    ...     decoder=likelihoods.BernoulliDecoder(networks.MLP(()), shape=(8, 8, 1)),
    ...     prior=priors.StandardNormal(latent_dim=2),
    ... )
    >>> x, key = jnp.zeros((5, 8, 8, 1)), jax.random.key(0)
    >>> terms, variables = model.init_with_output(key, x, key, num_samples=4)
    >>> terms.log_weights.shape, [z.shape for z in terms.latents], sorted(variables["params"])
    ((4, 5), [(4, 5, 2), (4, 5, 3)], ['decoder', 'encoder', 'generator'])
    """

    encoder: LadderEncoder
    """q(z_l|x) of every level."""
    generator: LadderGenerator
    """h_1 from the codes of all levels, with one network for each level."""
    decoder: Decoder
    """p(x|h_1)."""
    prior: Prior
    """p(z_L), the prior of the top level."""

    @nn.nowrap
    def check_settings(self) -> None:
        super().check_settings()
        check_ladders(self)
        numbers = len(self.encoder.networks), len(self.generator.networks)
        if numbers[0] != numbers[1]:
            raise UsageError(
                f"encoder has {numbers[0]} networks and generator has {numbers[1]}: give both one network "
                "for each level."
            )
        if self.encoder.dims[0] != self.prior.latent_dim:
            raise UsageError(
                f"encoder.dims[0] = {self.encoder.dims[0]} and prior.latent_dim = {self.prior.latent_dim} "
                "must be the same number: level 0 is the top, and the prior is that of the top."
            )

    @nn.nowrap
    def fit_events(self, shape: tuple[int, ...], data_range: DataRange | None) -> None:
        super().fit_events(shape, data_range)
        self.encoder = for_events(self.encoder, shape)

    @property
    def latent_dims(self) -> tuple[int, ...]:
        return tuple(self.encoder.dims)

    def encode(self, x: Array, context: Array | None = None) -> Encoding:
        """q(z_l|x) of each level, top first, each of batch shape [B]."""
        check_no_context(self, context)
        check_events(self, x)
        return self.encoder(x)

    def terms(
        self,
        encoding: Encoding,
        x: Array,
        key: PRNGKey,
        num_samples: int = 1,
        weights: Array | None = None,
    ) -> Terms:
        check_at_least_one(num_samples=num_samples)
        *z_keys, prior_key = jax.random.split(key, len(encoding) + 1)
        latents = tuple(
            q.sample(seed=z_key, sample_shape=(num_samples,))
            for q, z_key in zip(encoding, z_keys, strict=True)
        )
        latents, log_q = self.with_weights(encoding, latents, weights)
        given = self.given(prior_key, weights)
        levels = zip(log_q, self._priors, latents, strict=True)
        likelihood = self._likelihood(latents)
        return Terms(
            distortion=-likelihood.log_prob(x),
            rate=tuple(log_q - p.log_prob(z, given) for log_q, p, z in levels),
            kl=tuple(p.kl(q) for p, q in zip(self._priors, encoding, strict=True)),
            latents=latents,
            likelihood=likelihood,
        )

    def level_log_posteriors(self, encoding: Encoding, latents: Latents) -> tuple[Array, ...]:
        check_latents(self, latents)
        return tuple(q.log_prob(z) for q, z in zip(encoding, latents, strict=True))

    def decode(self, latents: Latents, context: Array | None = None) -> Any:
        """p(x|z_1..z_L). L arrays [..., D_l] -> distribution of batch shape [...]."""
        check_no_context(self, context)
        check_latents(self, latents)
        return self._likelihood(latents)

    def sample_joint(
        self, key: PRNGKey, num_samples: int, context: Array | None = None
    ) -> tuple[Latents, PyTree]:
        """(L arrays [num_samples, D_l], u), u the auxiliary variables of the prior on top."""
        check_no_context(self, context)
        check_at_least_one(num_samples=num_samples)
        key, *lower_keys = jax.random.split(key, self.depth)
        z, auxiliary = self.prior.sample_joint(key, num_samples, self.given())
        lower = zip(self._priors[1:], lower_keys, strict=True)
        return (z, *(p.sample(lower_key, num_samples) for p, lower_key in lower)), auxiliary

    def level_posterior(self, encoding: Encoding, level: int = 0) -> distrax.Independent:
        """q(z_level|x). Every level has one, because the levels are independent given x."""
        self._check_level(level)
        return encoding[level]

    def level_log_prior(self, z: Array, level: int = 0, key: PRNGKey | None = None) -> Array:
        """log p(z_level). Every level has one, because the levels are independent."""
        self._check_level(level)
        return self._priors[level].log_prob(z, self.given(key))

    def level_factorises(self, level: int = 0) -> bool:
        self._check_level(level)
        return self._priors[level].factorises

    def _check_level(self, level: int) -> None:
        check_level(self, level, self.depth, "")

    @property
    def _priors(self) -> tuple[Prior, ...]:
        """The prior of each level. Those below the top have no parameters."""
        lower = (StandardNormal(dim, parent=None) for dim in self.latent_dims[1:])
        return (self.prior, *lower)

    def level_log_lower_priors(self, latents: Latents) -> tuple[Array, ...]:
        """log N(z_l; 0, I) of the levels below the top."""
        return tuple(p.log_prob(z) for p, z in zip(self._priors[1:], latents[1:], strict=True))

    def _likelihood(self, latents: Latents) -> Any:
        h = self.generator(latents)
        likelihood = self.decoder(h)
        batch_shape = latents[0].shape[:-1]
        if likelihood.batch_shape != batch_shape:
            raise UsageError(
                f"decoder gives a likelihood of batch shape {likelihood.batch_shape} for codes of batch "
                f"shape {batch_shape}, from features h of shape {h.shape}: choose a decoder.trunk that "
                "reads such features, networks.Identity() for maps or MLP(()) for vectors."
            )
        return likelihood


def check_ladders(model: VLAE) -> None:
    """Raises one sentence if encoder or generator is no ladder, which has a network for each level."""
    for name, kind in (("encoder", LadderEncoder), ("generator", LadderGenerator)):
        value = getattr(model, name)
        if not isinstance(value, kind):
            raise UsageError(
                f"{name} = {type(value).__name__} must be a networks.{kind.__name__}, which has one network "
                "for each level, top first."
            )
