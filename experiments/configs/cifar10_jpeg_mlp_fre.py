"""CIFAR-10 as JPEG, dense VAE, GECO with a bound on the error of local means and deviations.

Source: Rezende & Viola, 2018, Taming VAEs, section 4.
The images are lossy: no figure compares with CIFAR-10's.
Expect after 2,500 steps, on the test set: 0.098 per statistic, rate 10 nats, λ 1.6.
"""

from experiments import taming
from experiments.configs.cifar10_jpeg_mlp_elbo import experiment as base
from vaelab.constraints import FRE, LocalStatistics

experiment = taming.geco(base, fre=FRE(kappa=0.1, features=LocalStatistics()))
