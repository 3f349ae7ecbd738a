"""Color-MNIST, dense β-VAE with σ = 0.1; sweep its betas.

Source: Rezende & Viola, 2018, Taming VAEs, section 4.
"""

from experiments import taming
from experiments.configs.color_mnist_mlp_elbo import experiment as base

experiment = taming.beta(base, 30.0)
