"""MNIST-sum, conditional ConvDRAW, ELBO with a learned global σ.

Source: Rezende & Viola, 2018, Taming VAEs, section 4.
"""

from experiments import taming
from vaelab import data

experiment = taming.convdraw(data.MNISTSum(), (28, 28, 1), context_channels=2)
