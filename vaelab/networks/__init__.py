"""Networks that parameterise conditional distributions."""

from vaelab.networks.conditional import (
    BernoulliDecoder,
    CategoricalDecoder,
    ConditionalGaussian,
    Decoder,
    GaussianDecoder,
)
from vaelab.networks.mlp import MLP, GatedMLP

__all__ = [
    "MLP",
    "BernoulliDecoder",
    "CategoricalDecoder",
    "ConditionalGaussian",
    "Decoder",
    "GatedMLP",
    "GaussianDecoder",
]
