"""The variational autoencoder with one level of latent variables."""

from __future__ import annotations

from typing import Any

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
from vaelab.priors import Prior
from vaelab.priors.base import DataRange, check_dim
from vaelab.types import Array, PRNGKey, PyTree, Terms


class VAE(ModelWithPrior):
    """p(x, z) = p(x|z) p(z) with the amortised posterior q(z|x).

    Encoder and decoder are modules that return distributions. The prior keeps the contract of
    `vaelab.priors.base`. A VampPrior without its own encoder uses that of the model. Kingma & Welling, 2014.

    If `decoder.shape` is known, settings of encoder and prior that were left out are filled in:
    `event_ndims` of the encoder's trunk, shape and range of the prior's pseudo-inputs. If it was left
    out, `for_data` derives it first.

    >>> import jax.numpy as jnp
    >>> from vaelab import likelihoods, networks, priors
    >>> model = VAE(
    ...     encoder=networks.ConditionalGaussian(networks.MLP((16,)), dim=2),
    ...     decoder=likelihoods.BernoulliDecoder(networks.MLP((16,)), shape=(8, 8, 1)),
    ...     prior=priors.StandardNormal(latent_dim=2),
    ... )
    >>> x, key = jnp.zeros((5, 8, 8, 1)), jax.random.key(0)
    >>> terms, variables = model.init_with_output(key, x, key, num_samples=3)
    >>> terms.log_weights.shape
    (3, 5)
    """

    encoder: nn.Module
    """q(z|x), [B, ...] -> distribution of batch shape [B]."""
    decoder: Decoder
    """p(x|z), [..., D] -> distribution of batch shape [...]."""
    prior: Prior
    """p(z)."""

    @nn.nowrap
    def check_settings(self) -> None:
        super().check_settings()
        check_dim("encoder", self.encoder, self.prior.latent_dim, "prior.latent_dim")

    @nn.nowrap
    def fit_events(self, shape: tuple[int, ...], data_range: DataRange | None) -> None:
        super().fit_events(shape, data_range)
        self.encoder = for_events(self.encoder, shape)

    @property
    def latent_dims(self) -> tuple[int, ...]:
        return (self.prior.latent_dim,)

    def top_posterior(self, x: Array) -> Any:
        # A prior says itself that its pseudo-inputs do not fit.
        return self.encoder(x)

    def encode(self, x: Array, context: Array | None = None) -> Any:
        """q(z|x). [B, *event] -> distribution of batch shape [B]."""
        check_no_context(self, context)
        check_events(self, x)
        return self.encoder(x)

    def terms(
        self,
        encoding: Any,
        x: Array,
        key: PRNGKey,
        num_samples: int = 1,
        weights: Array | None = None,
    ) -> Terms:
        check_at_least_one(num_samples=num_samples)
        z_key, prior_key = jax.random.split(key)
        z = encoding.sample(seed=z_key, sample_shape=(num_samples,))
        if z.shape[1:-1] != x.shape[:1]:
            raise UsageError(
                f"the encoder gives a posterior of batch shape {z.shape[1:-1]} for {len(x)} examples: "
                "set event_ndims of its trunk to the number of axes of one example."
            )
        if z.shape[-1] != self.prior.latent_dim:
            raise UsageError(
                f"the encoder's posterior has {z.shape[-1]} latent coordinates and prior.latent_dim = "
                f"{self.prior.latent_dim}: make them the same number."
            )
        (z,), (log_q,) = self.with_weights(encoding, (z,), weights)
        rate = log_q - self.prior.log_prob(z, self.given(prior_key, weights))
        likelihood = self.decoder(z)
        return Terms(
            distortion=-likelihood.log_prob(x),
            rate=(rate,),
            kl=(self.prior.kl(encoding),),
            latents=(z,),
            likelihood=likelihood,
        )

    def level_log_posteriors(self, encoding: Any, latents: Latents) -> tuple[Array]:
        check_latents(self, latents)
        return (encoding.log_prob(latents[0]),)

    def decode(self, latents: Latents, context: Array | None = None) -> Any:
        """p(x|z). ([..., D],) -> distribution of batch shape [...]."""
        check_no_context(self, context)
        check_latents(self, latents)
        return self.decoder(latents[0])

    def sample_joint(
        self, key: PRNGKey, num_samples: int, context: Array | None = None
    ) -> tuple[Latents, PyTree]:
        """((z [num_samples, D],), u), u the prior's auxiliary variables: see `priors.base`."""
        check_no_context(self, context)
        check_at_least_one(num_samples=num_samples)
        z, auxiliary = self.prior.sample_joint(key, num_samples, self.given())
        return (z,), auxiliary

    def level_log_lower_priors(self, latents: Latents) -> tuple[()]:
        return ()

    def level_posterior(self, encoding: Any, level: int = 0) -> Any:
        check_level(self, level, 1, "")
        return encoding
