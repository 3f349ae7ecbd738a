"""MNIST at 16×16, ConvDRAW, ELBO with a learned global σ: small enough for sweeps on CPUs.

Source: Rezende & Viola, 2018, Taming VAEs, section 4.
"""

from experiments import taming
from vaelab import data

experiment = taming.convdraw(data.Resized(data.MNIST(), 16), (16, 16, 1))
