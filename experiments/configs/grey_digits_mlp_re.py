"""Grey digits, dense VAE, GECO with a bound on the reconstruction error: no data file is needed.

Source: Rezende & Viola, 2018, Taming VAEs, section 4.
"""

from experiments import taming
from experiments.configs.grey_digits_mlp_elbo import experiment as base
from vaelab.constraints import RE

experiment = taming.geco(base, re=RE(kappa=0.1))
