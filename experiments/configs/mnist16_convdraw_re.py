"""MNIST at 16×16, ConvDRAW, GECO with a bound on the reconstruction error.

Source: Rezende & Viola, 2018, Taming VAEs, section 4.
"""

from experiments import taming
from experiments.configs.mnist16_convdraw_elbo import experiment as base
from vaelab.constraints import RE

experiment = taming.geco(base, re=RE(kappa=0.1))
