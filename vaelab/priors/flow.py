"""The flow prior."""

from __future__ import annotations

from collections.abc import Callable

import flax.linen as nn

from vaelab.checks import check_at_least_one, check_sizes
from vaelab.networks.coupling import RealNVP
from vaelab.priors.base import Given, Prior
from vaelab.priors.standard import StandardNormal
from vaelab.types import Array, PRNGKey


class FlowPrior(Prior):
    """log p(z) = log N(f(z); 0, I) + log |det ∂f/∂z| with a RealNVP f. At the start f is the identity.

    With one latent dimension f is affine and p(z) is a Gaussian. Dinh et al., 2017, eq. 2.

    >>> import jax, jax.numpy as jnp
    >>> prior = FlowPrior(latent_dim=2, num_layers=2)
    >>> variables = prior.init(jax.random.key(0), jnp.zeros(2))
    >>> prior.apply(variables, jax.random.key(1), 5, method="sample").shape
    (5, 2)
    """

    num_layers: int = 4
    """Number of couplings."""
    hidden: tuple[int, ...] = (64,)
    """Widths of the layers of each coupling's network."""
    activation: Callable[[Array], Array] = nn.silu
    """Nonlinearity after each of these layers."""

    def __post_init__(self) -> None:
        check_at_least_one(num_layers=self.num_layers)
        check_sizes(hidden=self.hidden)
        super().__post_init__()

    def setup(self) -> None:
        self.flow = RealNVP(self.latent_dim, self.num_layers, self.hidden, self.activation)
        self.base = StandardNormal(self.latent_dim)

    def log_prob(self, z: Array, given: Given = Given()) -> Array:
        self.check_arguments(z, given)
        u, log_det = self.flow.forward(z)
        return self.base.log_prob(u) + log_det

    def sample(self, key: PRNGKey, num_samples: int, given: Given = Given()) -> Array:
        self.check_arguments(given=given)
        check_at_least_one(num_samples=num_samples)
        return self.flow.inverse(self.base.sample(key, num_samples))[0]
