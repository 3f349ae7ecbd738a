"""MNIST, hierarchical prior, GECO with REWO's κ: λ ends below 1, where the constraint is active.

Sources: Rezende & Viola, 2018, Taming VAEs; Klushyn et al., 2019.
"""

import dataclasses

from experiments.configs.mnist_vhp_rewo import experiment as base
from vaelab.training.optimisers import Geco

experiment = dataclasses.replace(base, dual=Geco())
