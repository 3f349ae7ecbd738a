"""The contract that every prior keeps."""

from __future__ import annotations

from typing import Any, ClassVar

import flax.linen as nn

from vaelab.checks import check_at_least_one
from vaelab.separate import separate_modules
from vaelab.types import Array, PRNGKey, PyTree


class Prior(nn.Module):
    """A density over latent vectors that can be evaluated and sampled.

    A prior is a Linen module with two methods, both speaking of the same normalised density:

      log_prob(z, key=None, weights=None): [..., D] -> [...], nats
      sample(key, num_samples): -> [num_samples, D]

    `exact` says what log_prob is. True: log p(z), and `key` is not used. False: the logarithm of an
    unbiased estimate of p(z), made with `key`, independently for every z; importance-weighted
    bounds on log p(x) stay bounds, log p(z) is underestimated on average.

    A prior that is not exact is the marginal p(z) = ∫ p(z, u) du of a joint density over z and
    auxiliary variables u, which it can evaluate and sample: `joint_log_prob` and `sample_joint`.
    An exact prior has no auxiliary variables, and u = ().

    `weights` [...] are given by doubly reparameterised objectives: the normalised importance weight
    of each z. They change no value; a prior that samples inside log_prob gives its own sampler the
    doubly reparameterised gradient with them. Others ignore them.
    """

    latent_dim: int
    """number of latent coordinates D"""

    exact: ClassVar[bool] = True
    factorises: ClassVar[bool] = False
    """whether p(z) = Π_d p(z_d)"""

    def __post_init__(self) -> None:
        check_at_least_one(latent_dim=self.latent_dim)
        separate_modules(self)
        super().__post_init__()

    def log_prob(self, z: Array, key: PRNGKey | None = None, weights: Array | None = None) -> Array:
        """log p(z), or the logarithm of an unbiased estimate of p(z). [..., D] -> [...], nats."""
        raise NotImplementedError

    def sample(self, key: PRNGKey, num_samples: int) -> Array:
        """z ~ p(z), [num_samples, D]."""
        if self.exact:
            raise NotImplementedError
        return self.sample_joint(key, num_samples)[0]

    def sample_joint(self, key: PRNGKey, num_samples: int) -> tuple[Array, PyTree]:
        """(z, u) ~ p(z, u), z [num_samples, D], each leaf of u [num_samples, ...]."""
        return self.sample(key, num_samples), ()

    def joint_log_prob(self, z: Array, auxiliary: PyTree) -> Array:
        """log p(z, u), exact. [..., D] and leaves [..., *event] -> [...], nats."""
        del auxiliary
        return self.log_prob(z)

    def kl(self, posterior: Any) -> Array | None:
        """Closed-form KL(posterior ‖ p) per coordinate, [B, D]; None where there is none."""
        del posterior
        return None

    def with_num_samples(self, num_samples: int) -> Prior:
        """The same prior, estimated with another number of inner samples; itself where exact."""
        del num_samples
        return self

    def start_from(self, params: PyTree, x: Array, key: PRNGKey) -> PyTree:
        """Data-dependent initialisation: the prior's fresh parameters, moved to the data x [N, ...]."""
        del x, key
        return params


def check_dim(name: str, network: nn.Module, wanted: int, wanted_name: str = "latent_dim") -> None:
    """Raises one sentence where a network's size is known and is not the wanted one."""
    dim = getattr(network, "dim", wanted)
    if dim != wanted:
        raise ValueError(
            f"{name}.dim = {dim} and {wanted_name} = {wanted} must be the same number."
        )
