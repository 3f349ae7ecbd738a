"""MNIST, hierarchical prior, plain ELBO: what REWO and GECO are compared with.

Source: Klushyn et al., 2019, Learning hierarchical priors in VAEs.
Cost: 40 epochs, 6 minutes on two CPU cores. Expect on the test set: ELBO −90.5 nats, log p(x) −84.7
(500 samples, first 500 images).
"""

import dataclasses

from experiments.configs.mnist_vhp_rewo import experiment as base
from vaelab.training.objectives import ELBO

experiment = dataclasses.replace(base, objective=ELBO(), dual=None)
