"""Grey digits, dense β-VAE with σ = 0.1; sweep its betas: no data file is needed.

Source: Rezende & Viola, 2018, Taming VAEs, section 4.
"""

from experiments import taming
from experiments.configs.grey_digits_mlp_elbo import experiment as base

experiment = taming.beta(base, 3.0)
