"""Networks that parameterise conditional distributions."""

from vaelab.networks.autoregressive import MADE
from vaelab.networks.conditional import ConditionalGaussian
from vaelab.networks.conditional_flow import ConditionalFlow
from vaelab.networks.coupling import RealNVP
from vaelab.networks.decoders import (
    BernoulliDecoder,
    CategoricalDecoder,
    Decoder,
    GaussianDecoder,
)
from vaelab.networks.mlp import MLP, GatedMLP

__all__ = [
    "MADE",
    "MLP",
    "BernoulliDecoder",
    "CategoricalDecoder",
    "ConditionalFlow",
    "ConditionalGaussian",
    "Decoder",
    "GatedMLP",
    "GaussianDecoder",
    "RealNVP",
]
