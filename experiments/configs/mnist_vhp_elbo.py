"""MNIST, hierarchical prior, plain ELBO: what REWO and GECO are compared with.

Source: Klushyn et al., 2019, Learning hierarchical priors in VAEs.
"""

import dataclasses

from experiments.configs.mnist_vhp_rewo import experiment as base
from vaelab.training.objectives import ELBO

experiment = dataclasses.replace(base, objective=ELBO(), dual=None)
