"""Models; each returns `vaelab.types.Terms`."""

from vaelab.models.convdraw import ConvDRAW
from vaelab.models.vae import VAE

__all__ = ["VAE", "ConvDRAW"]
