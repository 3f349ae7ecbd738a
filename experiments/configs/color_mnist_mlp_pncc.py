"""Color-MNIST, dense VAE, GECO with a bound on the correlation of patches.

Source: Rezende & Viola, 2018, Taming VAEs, section 4.
Expect after 2,500 steps, on the test set: correlation 0.73, rate 27 nats, λ 300.
"""

from experiments import taming
from experiments.configs.color_mnist_mlp_elbo import experiment as base
from vaelab.constraints import pNCC

experiment = taming.geco(
    base,
    initial_multiplier=100.0,
    pncc=pNCC(kappa=0.7),
)
