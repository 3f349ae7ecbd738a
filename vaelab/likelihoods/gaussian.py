"""Gaussian likelihood."""

from __future__ import annotations

import distrax

from vaelab.likelihoods.scaled import ScaledDecoder
from vaelab.types import Array


class GaussianDecoder(ScaledDecoder):
    """Gaussian likelihood N(x; g(z), σ²), σ fixed unless `learned`. [..., D] -> [..., *shape]."""

    learned: bool = False
    """whether σ is a parameter"""

    def pixels(self, location: Array, scale: Array) -> distrax.Distribution:
        return distrax.Normal(location, scale)
