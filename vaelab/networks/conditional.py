"""Conditional distributions: a trunk, a linear head, and the distribution it parameterises."""

from __future__ import annotations

import distrax
import flax.linen as nn
import jax.numpy as jnp

from vaelab.checks import check_at_least_one
from vaelab.events import for_events
from vaelab.separate import separate_modules
from vaelab.types import Array


class ConditionalGaussian(nn.Module):
    """Diagonal Gaussian N(μ(h), σ²(h)) over vectors, h the trunk's output. [..., event] -> [..., dim].

    It serves as the encoder q(z|x) and as the layers of a hierarchical prior. A clipped log-variance has
    no gradient. REWO's large first λ drives the posterior's variances far down, so do not clip under REWO.

    >>> import jax
    >>> from vaelab.networks import MLP
    >>> encoder = ConditionalGaussian(MLP((16,), event_ndims=3), dim=2)
    >>> posterior, _ = encoder.init_with_output(jax.random.key(0), jnp.ones((5, 8, 8, 1)))
    >>> posterior.batch_shape, posterior.event_shape
    ((5,), (2,))
    """

    trunk: nn.Module
    """Network before the head, which gives mean and log-variance."""
    dim: int
    """Number of coordinates."""
    log_variance_range: tuple[float, float] | None = None
    """Range to which log σ² is clipped; (-6, 2) in the papers on the VampPrior. None leaves it free."""

    def __post_init__(self) -> None:
        check_at_least_one(dim=self.dim)
        separate_modules(self)
        super().__post_init__()

    @nn.nowrap
    def for_events(self, shape: tuple[int, ...]) -> ConditionalGaussian:
        """The same network for examples of this shape, see `networks.TakesEvents`."""
        trunk = for_events(self.trunk, shape)
        return self if trunk is self.trunk else self.clone(parent=None, trunk=trunk)

    @nn.compact
    def __call__(self, x: Array) -> distrax.Independent:
        mean, log_variance = jnp.split(nn.Dense(2 * self.dim)(self.trunk(x)), 2, axis=-1)
        if self.log_variance_range is not None:
            log_variance = jnp.clip(log_variance, *self.log_variance_range)
        return distrax.Independent(distrax.Normal(mean, jnp.exp(0.5 * log_variance)), 1)
