"""CIFAR-10, ConvDRAW, ELBO with a σ annealed by hand, the scheme of GQN.

Source: Rezende & Viola, 2018, Taming VAEs, section 4.
Not run: the data were not at hand.
"""

from experiments import taming
from experiments.configs.cifar10_convdraw_elbo import experiment as base

experiment = taming.annealed(base)
