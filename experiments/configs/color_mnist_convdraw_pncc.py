"""Color-MNIST, ConvDRAW, GECO with a bound on the correlation of patches.

Source: Rezende & Viola, 2018, Taming VAEs, section 4.
"""

from experiments import taming
from experiments.configs.color_mnist_convdraw_elbo import experiment as base
from vaelab.constraints import pNCC

experiment = taming.geco(base, initial_multiplier=1000.0, pncc=pNCC(kappa=0.8))
