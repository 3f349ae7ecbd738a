"""Dynamic MNIST, mixture of 500 Gaussians, the VampPrior line's protocol.

Source: Tomczak & Welling, 2018, VAE with a VampPrior.
Cost: 2.3 hours on one CPU core, early stopping after 1,178 epochs. Expect on the test set: ELBO −86.1 nats,
log p(x) −82.5 (5000 samples), 1.9 nats above the standard normal prior's.
"""

from experiments.protocol import protocol
from vaelab.data import MNIST
from vaelab.priors import GaussianMixture

experiment = protocol(MNIST(), GaussianMixture(latent_dim=40, num_components=500))
