"""CIFAR-10 as JPEG, dense β-VAE with σ = 0.1; sweep its betas.

Source: Rezende & Viola, 2018, Taming VAEs, section 4.
The images are lossy: no figure compares with CIFAR-10's.
"""

from experiments import taming
from experiments.configs.cifar10_jpeg_mlp_elbo import experiment as base

experiment = taming.beta(base, 30.0)
