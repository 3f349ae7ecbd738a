"""Gaussian likelihood."""

from __future__ import annotations

from typing import ClassVar

import distrax

from vaelab.likelihoods.scaled import ScaledDecoder
from vaelab.types import Array, PyTree


class GaussianDecoder(ScaledDecoder):
    """Gaussian likelihood N(x; g(z), σ²) with a fixed or `learned` σ. [..., D] -> [..., *shape]."""

    label: ClassVar[str] = "Gaussian"

    learned: bool = False
    """True makes σ a learned parameter."""

    def pixels(self, location: Array, scale: Array) -> distrax.Distribution:
        return distrax.Normal(location, scale)

    def squared_error_weight(self, params: PyTree) -> float | None:
        if self.per_pixel:
            return None
        learned = self.global_scale(params)
        scale = self.scale if learned is None else float(learned)
        return 1 / (2 * scale**2)
