"""CIFAR-10 as JPEG, dense VAE, GECO with a bound on the reconstruction error.

Source: Rezende & Viola, 2018, Taming VAEs, section 4.
The images are lossy: no figure compares with CIFAR-10's.
Expect after 2,500 steps, on the test set: RMSE 0.147, rate 22 nats, λ 0.68.
"""

from experiments import taming
from experiments.configs.cifar10_jpeg_mlp_elbo import experiment as base
from vaelab.constraints import RE

experiment = taming.geco(base, re=RE(kappa=0.15))
