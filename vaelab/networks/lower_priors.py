"""The priors of a hierarchy below its top level."""

from __future__ import annotations

import flax.linen as nn

from vaelab.checks import UsageError, counted
from vaelab.natural import ExponentialFamily
from vaelab.networks.units import Units, check_units
from vaelab.separate import separate_modules
from vaelab.types import Array


class LowerPriors(nn.Module):
    """p(z_1..z_L−1 | z_0) = Π_i p(z_i|z_i−1). Each trunk reads the latents of the level above.

    A linear head after each trunk gives the parameters of the level's units.
    """

    trunks: tuple[nn.Module, ...]
    """Network of each level below the top, top first."""
    units: tuple[Units, ...] | None = None
    """Units of these levels. Left out, they are those of the model."""

    def __post_init__(self) -> None:
        self.trunks = tuple(self.trunks)
        if self.units is not None and len(self.units) != len(self.trunks):
            raise UsageError(
                f"lower_priors.trunks holds {counted(len(self.trunks), 'network')}, and the number of levels below "
                f"the top is {len(self.units)}: give one network for each."
            )
        separate_modules(self)
        super().__post_init__()

    @nn.nowrap
    def for_units(self, units: tuple[Units, ...]) -> LowerPriors:
        """The same network for these units; itself if it has them."""
        check_units("lower_priors.units", self.units, units)
        return self if self.units == units else self.clone(parent=None, units=units)

    def setup(self) -> None:
        self.heads = [nn.Dense(units.num_parameters) for units in self.units or ()]

    def __call__(self, level: int, above: Array) -> ExponentialFamily:
        """p(z_level|z_level−1), level ≥ 1. [..., D_level−1] -> parameters [..., D_level]."""
        units = (self.units or ())[level - 1]
        return units.family(self.heads[level - 1](self.trunks[level - 1](above)))
