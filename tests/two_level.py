"""A model of two levels, p(z_2) p(z_1|z_2) p(x|z_1), with a learned prior on top: what the contract must carry."""

from __future__ import annotations

from typing import ClassVar

import flax.linen as nn
import jax

from vaelab.likelihoods import Decoder
from vaelab.models import Model
from vaelab.models.base import check_events, check_latents, check_level, with_level
from vaelab.priors import Given, Prior
from vaelab.types import Terms

REASON = "has no density of its own: its prior depends on level 0."


class TwoLevel(Model):
    """q(z_2|x) q(z_1|x); level 0 is z_2. The prior receives q(z_2|x)."""

    top_encoder: nn.Module
    bottom_encoder: nn.Module
    between: nn.Module
    decoder: Decoder
    prior: Prior

    prior_parameters: ClassVar[tuple[str, ...]] = ("prior", "between")
    posterior_parameters: ClassVar[tuple[str, ...]] = ("top_encoder", "bottom_encoder")

    @property
    def latent_dims(self):
        return self.prior.latent_dim, self.between.dim

    @property
    def prior_samples(self):
        return self.prior.num_samples

    def with_prior_samples(self, num_samples):
        return self.clone(prior=self.prior.with_num_samples(num_samples))

    def given(self, key=None, weights=None):
        return Given(key, weights, self.top_encoder)

    def encode(self, x, context=None):
        check_events(self, x)
        return self.top_encoder(x), self.bottom_encoder(x)

    def terms(self, encoding, x, key, num_samples=1, weights=None):
        top, bottom = encoding
        top_key, bottom_key, prior_key = jax.random.split(key, 3)
        above = top.sample(seed=top_key, sample_shape=(num_samples,))
        below = bottom.sample(seed=bottom_key, sample_shape=(num_samples,))
        rates = (
            top.log_prob(above) - self.prior.log_prob(above, self.given(prior_key, weights)),
            bottom.log_prob(below) - self.between(above).log_prob(below),
        )
        likelihood = self.decoder(below)
        kl = (self.prior.kl(top), None)
        return Terms(-likelihood.log_prob(x), rates, kl, (above, below), likelihood)

    def level_log_posteriors(self, encoding, latents):
        check_latents(self, latents)
        return tuple(q.log_prob(z) for q, z in zip(encoding, latents, strict=True))

    def decode(self, latents, context=None):
        check_latents(self, latents)
        return self.decoder(latents[1])

    def sample_joint(self, key, num_samples, context=None):
        top_key, key = jax.random.split(key)
        above, auxiliary = self.prior.sample_joint(top_key, num_samples, self.given())
        return (above, self.between(above).sample(seed=key)), auxiliary

    def log_prior(self, latents, key=None, context=None):
        above, below = latents
        return self.level_log_prior(above, 0, key) + self.between(above).log_prob(below)

    def log_joint_prior(self, latents, auxiliary, context=None):
        above, below = latents
        log_top = self.prior.joint_log_prob(above, auxiliary, self.given())
        return log_top + self.between(above).log_prob(below)

    def level_posterior(self, encoding, level=0):
        check_level(self, level, 1, REASON)
        return encoding[level]

    def level_log_prior(self, z, level=0, key=None):
        check_level(self, level, 1, REASON)
        return self.prior.log_prob(z, self.given(key))

    def level_factorises(self, level=0):
        check_level(self, level, 1, REASON)
        return self.prior.factorises

    def resample_level(self, key, latents, level=0, context=None):
        if level != 1:
            return super().resample_level(key, latents, level, context)
        check_latents(self, latents)
        return with_level(latents, 1, self.between(latents[0]).sample(seed=key))
