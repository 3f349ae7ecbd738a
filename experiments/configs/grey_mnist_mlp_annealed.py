"""Grey MNIST, dense VAE, ELBO with a σ annealed by hand, the scheme of GQN.

Source: Rezende & Viola, 2018, Taming VAEs, section 4.
Cost: 4,000 steps of 5 seeds in 70 s on two busy CPU cores. Expect after them (annealed over 3,000):
RMSE 0.18, rate 8 nats.
"""

from experiments import taming
from experiments.configs.grey_mnist_mlp_elbo import experiment as base

experiment = taming.annealed(base)
