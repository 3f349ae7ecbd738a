"""Models; each returns `vaelab.types.Terms`."""

from vaelab.models.vae import VAE

__all__ = ["VAE"]
