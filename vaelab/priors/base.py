"""The contract that every prior keeps."""

from __future__ import annotations

from typing import Any, ClassVar

import flax.linen as nn

from vaelab.types import Array


class Prior(nn.Module):
    """A density over latent vectors that can be evaluated and sampled.

    A prior is a Linen module with two methods, both speaking of the same normalised density:

      log_prob(z, key=None, weights=None): [..., D] -> [...], nats
      sample(key, num_samples): -> [num_samples, D]

    `exact` says what log_prob is. True: log p(z), and `key` is not used. False: the logarithm of an
    unbiased estimate of p(z), made with `key`, independently for every z; importance-weighted
    bounds on log p(x) stay bounds, log p(z) is underestimated on average.

    `weights` [...] are given by doubly reparameterised objectives: the normalised importance weight
    of each z. They change no value; a prior that samples inside log_prob gives its own sampler the
    doubly reparameterised gradient with them. Others ignore them.
    """

    latent_dim: int
    """number of latent coordinates D"""

    exact: ClassVar[bool] = True

    def kl(self, posterior: Any) -> Array | None:
        """Closed-form KL(posterior ‖ p) per coordinate, [B, D]; None where there is none."""
        del posterior
        return None

    def with_num_samples(self, num_samples: int) -> Prior:
        """The same prior, estimated with another number of inner samples; itself where exact."""
        del num_samples
        return self
