"""The variational autoencoder with one level of latent variables."""

from __future__ import annotations

import math
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from vaelab.checks import UsageError, check_at_least_one
from vaelab.events import for_events
from vaelab.likelihoods import Decoder
from vaelab.losses import scale_gradient
from vaelab.models.base import (
    Latents,
    Model,
    check_decoder,
    check_events,
    check_latents,
    check_level,
)
from vaelab.priors import Given, Prior
from vaelab.priors.base import DataRange, check_dim
from vaelab.separate import check_modules
from vaelab.types import Array, Examples, PRNGKey, PyTree, Terms, as_examples


class VAE(Model):
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

    def __post_init__(self) -> None:
        check_modules(self)
        check_decoder(self)
        check_prior(self)
        check_dim("encoder", self.encoder, self.prior.latent_dim, "prior.latent_dim")
        if self.decoder.shape is not None:
            self._fit(self.decoder.event_shape, finite_range(self.decoder.data_range))
        super().__post_init__()

    @nn.nowrap
    def for_data(self, examples: Examples | Array) -> Model:
        """The same model for these examples: shapes and ranges that were left out are derived.

        The prior's pseudo-inputs have the range of the data if the decoder's range is infinite.
        """
        model = super().for_data(examples)
        prior = model.prior.for_events(model.decoder.event_shape, range_of(as_examples(examples).x))
        return model if prior is model.prior else model.clone(parent=None, prior=prior)

    @nn.nowrap
    def _fit(self, shape: tuple[int, ...], data_range: DataRange | None) -> None:
        """Fills in what encoder and prior have left out."""
        encoder = for_events(self.encoder, shape)
        prior = self.prior.for_events(shape, data_range)
        if encoder is not self.encoder:
            self.encoder = encoder
        if prior is not self.prior:
            self.prior = prior

    @property
    def latent_dims(self) -> tuple[int, ...]:
        return (self.prior.latent_dim,)

    @property
    def label(self) -> str:
        return f"{super().label}, {type(self.prior).__name__}"

    @property
    def prior_samples(self) -> int | None:
        return self.prior.num_samples

    def with_prior_samples(self, num_samples: int) -> VAE:
        return self.clone(prior=self.prior.with_num_samples(num_samples))

    def start_from(self, params: PyTree, x: Array, key: PRNGKey) -> PyTree:
        if "prior" not in params:
            return params
        return params | {"prior": self.prior.start_from(params["prior"], x, key)}

    def learned(self, params: PyTree) -> dict[str, float]:
        summary = self.prior.summary(params.get("prior", {}))
        return super().learned(params) | {name: float(value) for name, value in summary.items()}

    def encode(self, x: Array, context: Array | None = None) -> Any:
        """q(z|x). [B, *event] -> distribution of batch shape [B]."""
        _refuse(context)
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
        density = encoding
        if weights is not None:
            z = scale_gradient(z, weights)
            density = jax.lax.stop_gradient(encoding)
        rate = density.log_prob(z) - self.prior.log_prob(z, self._given(prior_key, weights))
        likelihood = self.decoder(z)
        return Terms(
            distortion=-likelihood.log_prob(x),
            rate=(rate,),
            kl=(self.prior.kl(encoding),),
            latents=(z,),
            likelihood=likelihood,
        )

    def log_posterior(self, encoding: Any, latents: Latents) -> Array:
        check_latents(self, latents)
        return encoding.log_prob(latents[0])

    def decode(self, latents: Latents, context: Array | None = None) -> Any:
        """p(x|z). ([..., D],) -> distribution of batch shape [...]."""
        _refuse(context)
        check_latents(self, latents)
        return self.decoder(latents[0])

    def sample_joint(
        self, key: PRNGKey, num_samples: int, context: Array | None = None
    ) -> tuple[Latents, PyTree]:
        """((z [num_samples, D],), u), u the prior's auxiliary variables: see `priors.base`."""
        _refuse(context)
        check_at_least_one(num_samples=num_samples)
        z, auxiliary = self.prior.sample_joint(key, num_samples, self._given())
        return (z,), auxiliary

    def log_prior(
        self, latents: Latents, key: PRNGKey | None = None, context: Array | None = None
    ) -> Array:
        _refuse(context)
        check_latents(self, latents)
        return self.prior.log_prob(latents[0], self._given(key))

    def log_joint_prior(
        self, latents: Latents, auxiliary: PyTree, context: Array | None = None
    ) -> Array:
        _refuse(context)
        check_latents(self, latents)
        return self.prior.joint_log_prob(latents[0], auxiliary, self._given())

    def level_posterior(self, encoding: Any, level: int = 0) -> Any:
        check_level(self, level, 1, "")
        return encoding

    def level_log_prior(self, z: Array, level: int = 0, key: PRNGKey | None = None) -> Array:
        check_level(self, level, 1, "")
        return self.prior.log_prob(z, self._given(key))

    def level_factorises(self, level: int = 0) -> bool:
        check_level(self, level, 1, "")
        return self.prior.factorises

    def _given(self, key: PRNGKey | None = None, weights: Array | None = None) -> Given:
        """What the prior receives: also the encoder, for priors made of its posteriors."""
        return Given(key, weights, self.encoder)


def check_prior(model: Model) -> None:
    """Raises one sentence if the prior is not a `Prior`, which has a number of coordinates."""
    if not isinstance(model.prior, Prior):
        raise UsageError(
            f"prior = {type(model.prior).__name__} must be a priors.Prior: use one of vaelab.priors, or "
            "derive from Prior."
        )


def finite_range(data_range: DataRange) -> DataRange | None:
    """The range, or None where one of its ends is infinite.

    >>> finite_range((0.0, float("inf"))) is None
    True
    """
    return data_range if all(map(math.isfinite, data_range)) else None


def range_of(x: Any) -> DataRange | None:
    """Lowest and highest value of x; None if they are equal, or unknown inside `jit`.

    >>> range_of(np.array([-1.0, 2.0]))
    (-1.0, 2.0)
    """
    if isinstance(x, jax.core.Tracer):
        return None
    low, high = float(np.min(x)), float(np.max(x))
    return (low, high) if math.isfinite(high - low) and low < high else None


def _refuse(context: Any) -> None:
    if context is not None:
        raise UsageError(
            "a VAE takes no context: leave the context out, or choose a conditional model."
        )
