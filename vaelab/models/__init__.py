"""Models; each keeps the contract of `vaelab.models.base` and returns `vaelab.types.Terms`."""

from vaelab.models.base import Model
from vaelab.models.convdraw import ConvDRAW
from vaelab.models.vae import VAE

__all__ = ["VAE", "ConvDRAW", "Model"]
