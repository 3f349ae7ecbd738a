"""Dynamic MNIST, VampPrior with 500 pseudo-inputs, the VampPrior line's protocol.

Source: Tomczak & Welling, 2018, VAE with a VampPrior.
Cost: 25 epochs in 21 minutes on one shared CPU core. After them, a quarter through the warm-up:
ELBO −109.8 nats, log p(x) −100.2 (5000 samples, 1,000 images).
"""

from experiments.protocol import protocol
from vaelab.data import MNIST
from vaelab.priors import VampPrior

experiment = protocol(
    MNIST(), VampPrior(latent_dim=40, shape=(28, 28, 1), num_components=500, from_data=True)
)
