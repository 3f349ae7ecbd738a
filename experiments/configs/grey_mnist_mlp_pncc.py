"""Grey MNIST, dense VAE, GECO with a bound on the correlation of patches.

Source: Rezende & Viola, 2018, Taming VAEs, section 4.
Cost: 4,000 steps in 2.5 minutes on one shared CPU core. Expect after them, on the test set: correlation 0.80,
rate 13.8 nats (a β-VAE of this correlation: 20.8), λ 136 after 350 at most.
"""

from experiments import taming
from experiments.configs.grey_mnist_mlp_elbo import experiment as base
from vaelab.constraints import pNCC

experiment = taming.geco(
    base,
    initial_multiplier=100.0,
    pncc=pNCC(kappa=0.8),
)
