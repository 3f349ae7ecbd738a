"""Static MNIST, RealNVP prior, the VampPrior line's protocol.

Source: Dinh et al., 2017, Density estimation using Real NVP; as a prior, Chen et al., 2017,
Variational lossy autoencoder.
"""

import dataclasses

from experiments.configs.dynamic_mnist_flow import experiment as base
from vaelab.data import StaticMNIST

experiment = dataclasses.replace(base, data=StaticMNIST())
