"""Laplace likelihood."""

from __future__ import annotations

from typing import ClassVar

import distrax

from vaelab.likelihoods.scaled import ScaledDecoder
from vaelab.types import Array


class LaplaceDecoder(ScaledDecoder):
    """Laplace likelihood exp(−|x − g(z)|/b)/2b. [..., D] -> distribution over [..., *shape]."""

    label: ClassVar[str] = "Laplace"

    def pixels(self, location: Array, scale: Array) -> distrax.Distribution:
        return distrax.Laplace(location, scale)
