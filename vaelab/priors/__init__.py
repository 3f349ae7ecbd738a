"""Learned priors p(z). All keep the contract of `vaelab.priors.base`.

Each place in a prior has its own network: a network that is given for two places is copied (see
`vaelab.models`). Only a VampPrior or GTMVampPrior whose `encoder` is None uses the model's encoder.
"""

from vaelab.priors.aggregated import AggregatedPosterior
from vaelab.priors.autoregressive import AutoregressivePrior
from vaelab.priors.base import Given, Prior
from vaelab.priors.bernoulli import BernoulliPrior
from vaelab.priors.flow import FlowPrior
from vaelab.priors.gtm import GTM
from vaelab.priors.gtm_vamp import GTMVampPrior
from vaelab.priors.hierarchical import HierarchicalPrior
from vaelab.priors.mixture import GaussianMixture
from vaelab.priors.pure import functional
from vaelab.priors.resampled import ResampledPrior
from vaelab.priors.standard import StandardNormal
from vaelab.priors.vamp import VampPrior

__all__ = [
    "GTM",
    "AggregatedPosterior",
    "AutoregressivePrior",
    "BernoulliPrior",
    "FlowPrior",
    "GTMVampPrior",
    "GaussianMixture",
    "Given",
    "HierarchicalPrior",
    "Prior",
    "ResampledPrior",
    "StandardNormal",
    "VampPrior",
    "functional",
]
