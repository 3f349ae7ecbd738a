"""Static MNIST, hierarchical prior trained by REWO, otherwise the VampPrior line's protocol.

Source: Klushyn et al., 2019, Learning hierarchical priors in VAEs.
"""

import dataclasses

from experiments.configs.dynamic_mnist_vhp_rewo import experiment as base
from vaelab.data import StaticMNIST

experiment = dataclasses.replace(base, data=StaticMNIST())
