"""Dynamic MNIST, VampPrior with 500 pseudo-inputs, the VampPrior line's protocol.

Source: Tomczak & Welling, 2018, VAE with a VampPrior.
"""

from experiments.protocol import protocol
from vaelab.data import MNIST
from vaelab.priors import VampPrior

experiment = protocol(
    MNIST(), VampPrior(latent_dim=40, shape=(28, 28, 1), num_components=500, from_data=True)
)
