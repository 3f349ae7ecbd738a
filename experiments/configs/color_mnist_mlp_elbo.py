"""Color-MNIST, dense VAE, ELBO with a learned global σ.

Source: Rezende & Viola, 2018, Taming VAEs, section 4.
"""

from experiments import taming
from vaelab import data

experiment = taming.mlp(data.ColorMNIST(), (28, 28, 3))
