"""Networks that parameterise conditional distributions."""

from vaelab.events import MakesImages, TakesEvents
from vaelab.networks.autoregressive import MADE
from vaelab.networks.conditional import ConditionalGaussian
from vaelab.networks.conditional_flow import ConditionalFlow
from vaelab.networks.convolutional import ConvNet, Convolution3x3, DeconvNet, Identity
from vaelab.networks.coupling import RealNVP
from vaelab.networks.hierarchy_encoders import (
    AdditiveEncoder,
    HierarchyEncoder,
    IndependentEncoder,
    TopDownEncoder,
)
from vaelab.networks.injection import Concatenation, GatedInjection
from vaelab.networks.ladder import LadderEncoder, LadderGenerator
from vaelab.networks.lower_priors import LowerPriors
from vaelab.networks.mlp import MLP, GatedMLP
from vaelab.networks.resolution import Downsample, Upsample
from vaelab.networks.units import BernoulliUnits, GaussianUnits, Units

__all__ = [
    "MADE",
    "MLP",
    "AdditiveEncoder",
    "BernoulliUnits",
    "Concatenation",
    "ConditionalFlow",
    "ConditionalGaussian",
    "ConvNet",
    "Convolution3x3",
    "DeconvNet",
    "Downsample",
    "GatedInjection",
    "GatedMLP",
    "GaussianUnits",
    "HierarchyEncoder",
    "Identity",
    "IndependentEncoder",
    "LadderEncoder",
    "LadderGenerator",
    "LowerPriors",
    "MakesImages",
    "RealNVP",
    "TakesEvents",
    "TopDownEncoder",
    "Units",
    "Upsample",
]
