"""CIFAR-10, ConvDRAW, GECO with a bound on the reconstruction error.

Source: Rezende & Viola, 2018, Taming VAEs, section 4.
Not run: the data were not at hand. κ is a guess; calibrate it first.
"""

from experiments import taming
from experiments.configs.cifar10_convdraw_elbo import experiment as base
from vaelab.constraints import RE

experiment = taming.geco(base, initial_multiplier=10.0, re=RE(kappa=0.1))
