"""CelebA, ConvDRAW, GECO with a bound on the error of local means and deviations.

Source: Rezende & Viola, 2018, Taming VAEs, section 4.
Not run: the data were not at hand. κ is a guess; calibrate it first.
"""

from experiments import taming
from experiments.configs.celeba_convdraw_elbo import experiment as base
from vaelab.constraints import FRE, LocalStatistics

experiment = taming.geco(
    base, initial_multiplier=10.0, fre=FRE(kappa=0.06, features=LocalStatistics())
)
