"""The autoregressive prior."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp

from vaelab.checks import check_at_least_one, check_sizes
from vaelab.natural import Gaussian
from vaelab.networks.autoregressive import MADE
from vaelab.priors.base import Given, Prior
from vaelab.types import Array, PRNGKey


class AutoregressivePrior(Prior):
    """p(z) = Π_d p(z_d|z_1 … z_{d−1}), each conditional a mixture of C Gaussians.

      log p(z) = Σ_d logsumexp_c [log w_dc + log N(z_d; μ_dc, σ_dc²)],

    with w, μ and σ of all coordinates from one pass of a masked network. Sampling takes one pass for each
    coordinate. At the start all conditionals are the same and their means lie in [−1, 1].
    Germain et al., 2015; mixtures as in Uria et al., 2013.

    >>> prior = AutoregressivePrior(latent_dim=3)
    >>> variables = prior.init(jax.random.key(0), jnp.zeros(3))
    >>> prior.apply(variables, jax.random.key(1), 5, method="sample").shape
    (5, 3)
    """

    num_components: int = 4
    """Number of components C of each conditional."""
    hidden: tuple[int, ...] = (256,)
    """Widths of the layers of the masked network."""
    log_variance_range: tuple[float, float] = (-20.0, 10.0)
    """Range to which log σ² is clipped. The default is wide enough for any fit."""

    def __post_init__(self) -> None:
        check_at_least_one(num_components=self.num_components)
        check_sizes(hidden=self.hidden)
        super().__post_init__()

    def setup(self) -> None:
        self.network = MADE(self.latent_dim, 3 * self.num_components, self.hidden)

    def log_prob(self, z: Array, given: Given = Given()) -> Array:
        self.check_arguments(z, given)
        log_weights, mean, log_variance = self._mixture(self.network(z))
        log_normal = Gaussian(mean, log_variance).log_prob(z[..., None])
        return jnp.sum(logsumexp(log_weights + log_normal, axis=-1), axis=-1)

    def sample(self, key: PRNGKey, num_samples: int, given: Given = Given()) -> Array:
        self.check_arguments(given=given)
        check_at_least_one(num_samples=num_samples)
        if self.is_initializing():
            self.network(jnp.zeros(self.latent_dim))
        # JAX loops cannot call modules, but they can call functions of their parameters.
        network, variables = self.network.clone(parent=None), self.network.variables

        def draw(d: Array, z: Array) -> Array:
            outputs = network.apply(variables, z, d, method="at")
            log_weights, mean, log_variance = self._mixture(outputs)
            index_key, noise_key = jax.random.split(jax.random.fold_in(key, d))
            index = jax.random.categorical(index_key, log_weights)[:, None]
            mean, log_variance = (
                jnp.take_along_axis(values, index, axis=-1)[:, 0] for values in (mean, log_variance)
            )
            noise = jax.random.normal(noise_key, (num_samples,), mean.dtype)
            return z.at[:, d].set(mean + jnp.exp(0.5 * log_variance) * noise)

        start = jnp.zeros((num_samples, self.latent_dim), jax.tree.leaves(variables)[0].dtype)
        return jax.lax.fori_loop(0, self.latent_dim, draw, start)

    def _mixture(self, outputs: Array) -> tuple[Array, Array, Array]:
        """Log-weights, means and log-variances, [..., 3C] -> three times [..., C]."""
        logits, mean, log_variance = jnp.split(outputs, 3, axis=-1)
        # Equal components would get equal gradients and stay equal.
        spread = np.linspace(-1.0, 1.0, self.num_components) if self.num_components > 1 else 0.0
        return (
            jax.nn.log_softmax(logits),
            mean + jnp.asarray(spread, mean.dtype),
            jnp.clip(log_variance, *self.log_variance_range),
        )
