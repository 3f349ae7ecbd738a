"""Dynamic MNIST, standard normal prior, the VampPrior line's protocol.

Source: Tomczak & Welling, 2018, VAE with a VampPrior.
"""

from experiments.protocol import protocol
from vaelab.data import MNIST
from vaelab.priors import StandardNormal

experiment = protocol(MNIST(), StandardNormal(latent_dim=40))
