"""Static MNIST, standard normal prior, the VampPrior line's protocol.

Source: Tomczak & Welling, 2018, VAE with a VampPrior.
"""

import dataclasses

from experiments.configs.dynamic_mnist_standard import experiment as base
from vaelab.data import StaticMNIST

experiment = dataclasses.replace(base, data=StaticMNIST())
