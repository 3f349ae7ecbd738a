"""Laplace likelihood."""

from __future__ import annotations

import distrax

from vaelab.likelihoods.scaled import ScaledDecoder
from vaelab.types import Array


class LaplaceDecoder(ScaledDecoder):
    """Laplace likelihood exp(−|x − g(z)|/b)/2b. [..., D] -> distribution over [..., *shape]."""

    def pixels(self, location: Array, scale: Array) -> distrax.Distribution:
        return distrax.Laplace(location, scale)
