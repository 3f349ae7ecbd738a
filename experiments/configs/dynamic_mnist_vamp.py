"""Dynamic MNIST, VampPrior with 500 pseudo-inputs, the VampPrior line's protocol.

Source: Tomczak & Welling, 2018, VAE with a VampPrior.
Cost: 669 epochs in 2.5 hours on two shared CPU cores, where the validation ELBO still rose by 0.06 nats in
50 epochs. After them, on the test set: ELBO −86.2 nats, log p(x) −82.6 (5000 samples).
"""

from experiments.protocol import protocol
from vaelab.data import MNIST
from vaelab.priors import VampPrior

experiment = protocol(
    MNIST(), VampPrior(latent_dim=40, shape=(28, 28, 1), num_components=500, from_data=True)
)
