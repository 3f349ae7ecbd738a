"""Color-MNIST, ConvDRAW, GECO with a bound on the reconstruction error.

Source: Rezende & Viola, 2018, Taming VAEs, section 4.
Expect after 4,000 steps: κ = 0.125 and 0.175 met with rates of 180 and 54 nats; 0.1 takes longer.
"""

from experiments import taming
from experiments.configs.color_mnist_convdraw_elbo import experiment as base
from vaelab.constraints import RE

experiment = taming.geco(base, initial_multiplier=10.0, re=RE(kappa=0.1))
