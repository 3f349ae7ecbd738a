"""Networks that parameterise conditional distributions."""

from vaelab.networks.conditional import (
    BernoulliDecoder,
    ConditionalGaussian,
    GaussianDecoder,
)
from vaelab.networks.mlp import MLP, GatedMLP

__all__ = ["MLP", "BernoulliDecoder", "ConditionalGaussian", "GatedMLP", "GaussianDecoder"]
