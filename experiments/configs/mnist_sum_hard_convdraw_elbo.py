"""MNIST-sum-hard, conditional ConvDRAW, ELBO with a learned global σ.

Source: Rezende & Viola, 2018, Taming VAEs, section 4.
"""

from experiments import taming
from vaelab import data

experiment = taming.convdraw(data.MNISTSumHard(), (28, 28, 2), context_channels=1)
