"""CIFAR-10 as JPEG, dense VAE, ELBO with a learned global σ.

Source: Rezende & Viola, 2018, Taming VAEs, section 4.
The images are lossy: no figure compares with CIFAR-10's.
"""

from experiments import taming
from vaelab import data

experiment = taming.mlp(data.CIFAR10JPEG(), (32, 32, 3))
