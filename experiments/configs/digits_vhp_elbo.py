"""Digits, hierarchical prior, plain ELBO: what REWO and GECO are compared with.

Source: Klushyn et al., 2019, Learning hierarchical priors in VAEs.
Cost: 2 to 3 minutes on two busy CPU cores. Expect on the test set: ELBO −23.9 nats, log p(x) −23.4
(5000 samples).
"""

import dataclasses

from experiments.configs.digits_vhp_rewo import experiment as base
from vaelab.training.objectives import ELBO

experiment = dataclasses.replace(base, objective=ELBO(), dual=None)
