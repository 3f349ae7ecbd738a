"""Grey digits, dense VAE, ELBO with a learned global σ: no data file is needed.

Source: Rezende & Viola, 2018, Taming VAEs, section 4.
"""

from experiments import taming
from vaelab import data

experiment = taming.mlp(data.Digits(binarisation="none"), (8, 8, 1))
