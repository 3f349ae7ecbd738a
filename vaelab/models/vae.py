"""The variational autoencoder with one level of latent variables."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax

from vaelab.checks import check_at_least_one
from vaelab.losses import scale_gradient
from vaelab.priors import Given, Prior
from vaelab.priors.base import check_dim
from vaelab.types import Array, PRNGKey, PyTree, Terms


class VAE(nn.Module):
    """p(x, z) = p(x|z) p(z) with the amortised posterior q(z|x).

    Encoder and decoder are modules that return distributions; the prior keeps the contract of
    `vaelab.priors.base`. A VampPrior without an encoder of its own takes the model's. Kingma &
    Welling, 2014.

    >>> import jax.numpy as jnp
    >>> from vaelab import networks, priors
    >>> model = VAE(
    ...     encoder=networks.ConditionalGaussian(networks.MLP((16,), event_ndims=3), dim=2),
    ...     decoder=networks.BernoulliDecoder(networks.MLP((16,)), shape=(8, 8, 1)),
    ...     prior=priors.StandardNormal(latent_dim=2),
    ... )
    >>> x, key = jnp.zeros((5, 8, 8, 1)), jax.random.key(0)
    >>> terms, variables = model.init_with_output(key, x, key, num_samples=3)
    >>> terms.log_weights.shape
    (3, 5)
    """

    encoder: nn.Module
    """q(z|x), [B, ...] -> distribution of batch shape [B]"""
    decoder: nn.Module
    """p(x|z), [..., D] -> distribution of batch shape [...]"""
    prior: Prior
    """p(z)"""

    def __post_init__(self) -> None:
        check_dim("encoder", self.encoder, self.prior.latent_dim, "prior.latent_dim")
        super().__post_init__()

    @property
    def latent_dims(self) -> tuple[int, ...]:
        """Latent coordinates of the one level."""
        return (self.prior.latent_dim,)

    @property
    def conditional(self) -> bool:
        """False: this model takes no context."""
        return False

    @property
    def exact(self) -> bool:
        """Whether rates are exact; a prior that is estimated makes them upper bounds."""
        return self.prior.exact

    def with_prior_samples(self, num_samples: int) -> VAE:
        """The same model, its prior estimated with so many samples; parameters stay as they are."""
        return self.clone(prior=self.prior.with_num_samples(num_samples))

    def __call__(
        self,
        x: Array,
        key: PRNGKey,
        num_samples: int = 1,
        weights: Array | None = None,
        context: None = None,
    ) -> Terms:
        """The parts of every bound, for `num_samples` draws from q(z|x). x [B, ...] -> Terms."""
        return self.terms(self.encode(x, context), x, key, num_samples, weights)

    def encode(self, x: Array, context: None = None) -> Any:
        """q(z|x), all that `terms` needs to know of the encoder. [B, ...] -> distribution [B]."""
        _refuse(context)
        return self.encoder(x)

    def terms(
        self,
        posterior: Any,
        x: Array,
        key: PRNGKey,
        num_samples: int = 1,
        weights: Array | None = None,
    ) -> Terms:
        """`Terms` from an encoded x, so that x can be encoded once and sampled many times.

        `weights` [K, B], the normalised importance weights of the same samples, ask for the doubly
        reparameterised gradient of an importance-weighted bound (maths in `losses`); all ones ask
        for sticking the landing. They change no value.
        """
        check_at_least_one(num_samples=num_samples)
        z_key, prior_key = jax.random.split(key)
        z = posterior.sample(seed=z_key, sample_shape=(num_samples,))
        if z.shape[1:-1] != x.shape[:1]:
            raise ValueError(
                f"the encoder gives a posterior of batch shape {z.shape[1:-1]} for {len(x)} examples: "
                "set event_ndims of its trunk to the number of axes of one example."
            )
        if z.shape[-1] != self.prior.latent_dim:
            raise ValueError(
                f"the encoder's posterior has {z.shape[-1]} latent coordinates and prior.latent_dim = "
                f"{self.prior.latent_dim}: make them the same number."
            )
        density = posterior
        if weights is not None:
            z = scale_gradient(z, weights)
            density = jax.lax.stop_gradient(posterior)
        given = Given(prior_key, weights, self.encoder)
        rate = density.log_prob(z) - self.prior.log_prob(z, given)
        likelihood = self.decoder(z)
        return Terms(
            distortion=-likelihood.log_prob(x),
            rate=(rate,),
            kl=(self.prior.kl(posterior),),
            latents=(z,),
            likelihood=likelihood,
        )

    def decode(self, z: Array, context: None = None) -> Any:
        """p(x|z). [..., D] -> distribution of batch shape [...]."""
        _refuse(context)
        return self.decoder(z)

    def sample_latents(self, key: PRNGKey, num_samples: int, context: None = None) -> Array:
        """z ~ p(z), [num_samples, D]; `decode` makes likelihoods, and images, of them."""
        _refuse(context)
        check_at_least_one(num_samples=num_samples)
        return self.prior.sample(key, num_samples, Given(encode=self.encoder))

    def sample_joint_latents(self, key: PRNGKey, num_samples: int) -> tuple[Array, PyTree]:
        """(z, u) ~ p(z, u), u the prior's auxiliary variables; see `priors.base`."""
        return self.prior.sample_joint(key, num_samples, Given(encode=self.encoder))

    def joint_prior_log_prob(self, z: Array, auxiliary: PyTree) -> Array:
        """log p(z, u), exact. [..., D] -> [...]."""
        return self.prior.joint_log_prob(z, auxiliary, Given(encode=self.encoder))

    def start_from(self, params: PyTree, x: Array, key: PRNGKey) -> PyTree:
        """Fresh parameters, the prior's moved to the data x [N, ...] where it wants that."""
        if "prior" not in params:
            return params
        return params | {"prior": self.prior.start_from(params["prior"], x, key)}

    def prior_log_prob(self, z: Array, key: PRNGKey | None = None) -> Array:
        """log p(z), exact or estimated with `key`. [..., D] -> [...]."""
        return self.prior.log_prob(z, Given(key, encode=self.encoder))


def _refuse(context: Any) -> None:
    if context is not None:
        raise ValueError(
            "a VAE takes no context: leave the context out, or choose a conditional model."
        )
