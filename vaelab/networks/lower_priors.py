"""The priors of a hierarchy below its top level."""

from __future__ import annotations

import flax.linen as nn

from vaelab.checks import UsageError, counted
from vaelab.natural import ExponentialFamily
from vaelab.networks.units import Units, as_networks
from vaelab.separate import separate_modules
from vaelab.types import Array


class LowerPriors(nn.Module):
    """p(z_1..z_L−1 | z_0) = Π_i p(z_i|z_i−1). Each trunk reads the latents of the level above.

    A linear head after each trunk gives the parameters of the level's units.
    """

    trunks: tuple[nn.Module, ...]
    """Network of each level below the top, top first. One level alone needs none, ()."""

    def __post_init__(self) -> None:
        self.trunks = as_networks("lower_priors.trunks", self.trunks)
        separate_modules(self)
        super().__post_init__()

    @nn.nowrap
    def check_levels(self, num_levels: int) -> None:
        """Raises one sentence if there is not one network for each level below the top."""
        if len(self.trunks) != num_levels - 1:
            raise UsageError(
                f"lower_priors.trunks holds {counted(len(self.trunks), 'network')}, and the number of levels below "
                f"the top is {num_levels - 1}: give one network for each."
            )

    @nn.compact
    def __call__(self, units: Units, level: int, above: Array) -> ExponentialFamily:
        """p(z_level|z_level−1), level ≥ 1. [..., D_level−1] -> parameters [..., D_level].

        Args:
          units: units of the level.
        """
        head = nn.Dense(units.num_parameters, name=f"heads_{level - 1}")
        return units.family(head(self.trunks[level - 1](above)))
