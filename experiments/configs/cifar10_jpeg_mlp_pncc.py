"""CIFAR-10 as JPEG, dense VAE, GECO with a bound on the correlation of patches.

Source: Rezende & Viola, 2018, Taming VAEs, section 4.
The images are lossy: no figure compares with CIFAR-10's.
Expect after 1,600 steps: correlation 0.54 in training, rate 13 nats, λ 120 after 1,500 at most.
"""

from experiments import taming
from experiments.configs.cifar10_jpeg_mlp_elbo import experiment as base
from vaelab.constraints import pNCC

# λ starts at 1000: from 100 the posterior collapsed, and λ ran to 2e7 in 2,500 steps.
experiment = taming.geco(base, initial_multiplier=1000.0, pncc=pNCC(kappa=0.5))
