"""Color-MNIST, ConvDRAW, GECO with a bound on the error of a frozen classifier's features.

Source: Rezende & Viola, 2018, Taming VAEs, section 4.
"""

from experiments import taming
from experiments.configs.color_mnist_convdraw_elbo import experiment as base
from vaelab.constraints import FRE
from vaelab.networks.frozen import MNISTFeatures

experiment = taming.geco(
    base, initial_multiplier=10.0, fre=FRE(kappa=0.5, features=MNISTFeatures(channels=3))
)
