"""Learned priors p(z), one contract (`vaelab.priors.base`)."""

from vaelab.priors.base import Prior
from vaelab.priors.hierarchical import HierarchicalPrior
from vaelab.priors.mixture import GaussianMixture
from vaelab.priors.standard import StandardNormal

__all__ = ["GaussianMixture", "HierarchicalPrior", "Prior", "StandardNormal"]
