"""Static MNIST, mixture of 500 Gaussians, the VampPrior line's protocol.

Source: Tomczak & Welling, 2018, VAE with a VampPrior.
"""

from experiments.protocol import protocol
from vaelab.data import StaticMNIST
from vaelab.priors import GaussianMixture

experiment = protocol(StaticMNIST(), GaussianMixture(latent_dim=40, num_components=500))
