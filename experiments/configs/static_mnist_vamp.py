"""Static MNIST, VampPrior with 500 pseudo-inputs, the VampPrior line's protocol.

Source: Tomczak & Welling, 2018, VAE with a VampPrior.
"""

import dataclasses

from experiments.configs.dynamic_mnist_vamp import experiment as base
from vaelab.data import StaticMNIST

experiment = dataclasses.replace(base, data=StaticMNIST())
