"""Grey MNIST, dense VAE, ELBO with a σ annealed by hand, the scheme of GQN.

Source: Rezende & Viola, 2018, Taming VAEs, section 4.
"""

from experiments import taming
from experiments.configs.grey_mnist_mlp_elbo import experiment as base

experiment = taming.annealed(base)
