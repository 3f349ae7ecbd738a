"""MNIST, standard normal prior, importance-weighted bound with 10 samples: IWAE.

Source: Burda et al., 2016, Importance weighted autoencoders.
"""

import dataclasses

from experiments.configs.mnist_vae_elbo import experiment as base
from vaelab.training.objectives import ImportanceWeighted

experiment = dataclasses.replace(
    base, objective=ImportanceWeighted(num_samples=10), num_steps=5_000
)
