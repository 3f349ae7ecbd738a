"""CIFAR-10, VAE+NVP, ELBO with a learned global σ.

Source: Rezende & Viola, 2018, Taming VAEs, section 4.
Not run: the data were not at hand.
"""

from experiments import taming
from vaelab import data

experiment = taming.nvp(data.CIFAR10(), (32, 32, 3), latent_dim=64)
