"""The variational hierarchical prior (VHP)."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from vaelab.checks import UsageError, check_at_least_one, check_sizes
from vaelab.losses import normalised_weights, scale_gradient
from vaelab.networks import ConditionalGaussian, GatedMLP
from vaelab.priors.base import Given, Prior, check_continuous, check_dim
from vaelab.priors.standard import StandardNormal
from vaelab.separate import check_modules
from vaelab.types import Array, PRNGKey, PyTree


class HierarchicalPrior(Prior):
    """p_Θ(z) = ∫ p_Θ(z|ζ) p(ζ) dζ, estimated by importance sampling from q_Φ(ζ|z).

    log_prob(z) = log 1/J Σ_j p_Θ(z|ζ_j) p(ζ_j) / q_Φ(ζ_j|z), ζ_j ~ q_Φ(ζ|z), J = `num_samples`. It is the
    logarithm of an unbiased estimate of p_Θ(z). Its expectation is a lower bound on log p_Θ(z) that
    tightens with J. Klushyn et al., 2019, eq. 9.

    With `weights` (see the contract) Φ receives the doubly reparameterised gradient with the squared
    joint weight, Σ_lj (w̃_l ṽ_lj)² (∂log v_lj/∂ζ_lj) ∂ζ_lj/∂Φ. The gradients of z and Θ are the usual ones.

    A VampPrior as `top` has latent vectors as pseudo-inputs: set its `data_range` to the range of z.

    >>> prior = HierarchicalPrior(latent_dim=2, num_samples=16)
    >>> z, key = jnp.zeros((5, 2)), jax.random.key(0)
    >>> log_prob, variables = prior.init_with_output(key, z)
    >>> log_prob.shape, prior.apply(variables, key, 7, method="sample").shape
    ((5,), (7, 2))
    """

    num_samples: int = 8
    """Number J of importance samples of ζ for each z."""
    hidden: tuple[int, ...] = (300, 300)
    """Widths of the gated layers of the default networks."""
    encoder: nn.Module = None  # filled in below
    """q_Φ(ζ|z), any conditional distribution. Left out, it is a gated network with a Gaussian head."""
    decoder: nn.Module = None
    """p_Θ(z|ζ), any conditional distribution. Left out, it is a gated network with a Gaussian head."""
    top: Prior = None  # type: ignore[assignment]  # filled in below
    """p(ζ). Left out, it is standard normal with latent_dim coordinates."""

    def __post_init__(self) -> None:
        check_modules(self)
        check_at_least_one(num_samples=self.num_samples)
        check_sizes(hidden=self.hidden)
        if self.top is None:
            self.top = StandardNormal(self.latent_dim, parent=None)
        if self.encoder is None:
            self.encoder = self._default_network(self.top.latent_dim)
        if self.decoder is None:
            self.decoder = self._default_network(self.latent_dim)
        top = self.top.for_events((self.latent_dim,), None)  # its pseudo-inputs are latent vectors
        if top is not self.top:
            self.top = top
        check_continuous("top", self.top)
        if self.top.starts_from_data:
            raise UsageError(
                f"top = {type(self.top).__name__} starts at examples of the data, but its "
                "pseudo-inputs are latent vectors: set top.from_data to False."
            )
        check_dim("encoder", self.encoder, self.top.latent_dim, "top.latent_dim")
        check_dim("decoder", self.decoder, self.latent_dim)
        super().__post_init__()

    def log_prob(self, z: Array, given: Given = Given()) -> Array:
        self.check_arguments(z, given)
        key, weights = given.key, given.weights
        if key is None:
            raise UsageError(
                "HierarchicalPrior.log_prob estimates p(z) by sampling: pass Given(key=key)."
            )
        sample_key, top_key = jax.random.split(key)

        def log_weights(zeta: Array, posterior, weights: Array | None) -> Array:
            of_top = Given(top_key, weights, self.encoder)
            log_joint = self.decoder(zeta).log_prob(z) + self.top.log_prob(zeta, of_top)
            return log_joint - posterior.log_prob(zeta)  # [J, ...]

        def sample(posterior) -> Array:
            return posterior.sample(seed=sample_key, sample_shape=(self.num_samples,))

        if weights is None:
            posterior = self.encoder(z)
            log_v = log_weights(sample(posterior), posterior, None)
        else:
            # Two copies of q_Φ with the same values. One carries the whole gradient of z and none of Φ.
            # The other carries the gradient of Φ, only through ζ. A first pass finds the inner weights ṽ.
            to_encoder = sample(self.encoder(jax.lax.stop_gradient(z)))
            frozen = self.encoder.clone(parent=None)
            posterior = frozen.apply(jax.lax.stop_gradient(self.encoder.variables), z)
            zeta = sample(posterior)
            inner = normalised_weights(log_weights(zeta, posterior, None))
            to_encoder = scale_gradient(to_encoder, weights * inner)
            log_v = log_weights(_graft(zeta, to_encoder), posterior, weights * inner)
        return logsumexp(log_v, axis=0) - jnp.log(self.num_samples)

    def sample(self, key: PRNGKey, num_samples: int, given: Given = Given()) -> Array:
        return self.sample_joint(key, num_samples, given)[0]

    def sample_joint(
        self, key: PRNGKey, num_samples: int, given: Given = Given()
    ) -> tuple[Array, PyTree]:
        """(z, (ζ, the auxiliary variables of p(ζ)))."""
        self.check_arguments(given=given)
        check_at_least_one(num_samples=num_samples)
        top_key, key = jax.random.split(key)
        zeta, above = self.top.sample_joint(top_key, num_samples, Given(encode=self.encoder))
        return self.decoder(zeta).sample(seed=key), (zeta, above)

    def joint_log_prob(self, z: Array, auxiliary: PyTree, given: Given = Given()) -> Array:
        self.check_arguments(z, given)
        zeta, above = auxiliary
        log_top = self.top.joint_log_prob(zeta, above, Given(encode=self.encoder))
        return self.decoder(zeta).log_prob(z) + log_top

    def summary(self, params: PyTree) -> dict[str, Array]:
        """The summary of `top`, under names that begin with "top_"."""
        inner = self.top.summary(params.get("top", {}))
        return {f"top_{name}": value for name, value in inner.items()}

    def with_num_samples(self, num_samples: int) -> Prior:
        return self.clone(num_samples=num_samples, top=self.top.with_num_samples(num_samples))

    def _default_network(self, dim: int) -> ConditionalGaussian:
        trunk = GatedMLP(self.hidden, parent=None)
        # The range is wide enough for any fit. Without it, variances overflow far from the data, where
        # an untrained encoder may put z, and the gradient is not finite.
        return ConditionalGaussian(trunk, dim, log_variance_range=(-20.0, 10.0), parent=None)


@jax.custom_vjp
def _graft(zeta: Array, copy: Array) -> Array:
    """ζ, whose gradient also goes to `copy`, which has the same value.

    ζ + copy − stop_gradient(copy) has the same gradients, but is a new value for the compiler: the two
    passes over ζ would not share their computation.
    """
    del copy
    return zeta


_graft.defvjp(lambda zeta, copy: (zeta, None), lambda _, cotangent: (cotangent, cotangent))
