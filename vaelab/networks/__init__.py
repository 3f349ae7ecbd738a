"""Networks that parameterise conditional distributions."""

from vaelab.events import MakesImages, TakesEvents
from vaelab.networks.autoregressive import MADE
from vaelab.networks.conditional import ConditionalGaussian
from vaelab.networks.conditional_flow import ConditionalFlow
from vaelab.networks.convolutional import ConvNet, Convolution3x3, DeconvNet, Identity
from vaelab.networks.coupling import RealNVP
from vaelab.networks.mlp import MLP, GatedMLP

__all__ = [
    "MADE",
    "MLP",
    "ConditionalFlow",
    "ConditionalGaussian",
    "ConvNet",
    "Convolution3x3",
    "DeconvNet",
    "GatedMLP",
    "Identity",
    "MakesImages",
    "RealNVP",
    "TakesEvents",
]
