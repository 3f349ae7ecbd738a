"""Grey MNIST, dense VAE, GECO with a bound on the error of a frozen classifier's features.

Source: Rezende & Viola, 2018, Taming VAEs, section 4.
Cost: 4,000 steps in 2.5 minutes on one shared CPU core. Expect after them, on the test set: 0.50 per feature,
rate 4.9 nats (a β-VAE of these features: 26), λ 0.7 after 3.5 at most.
"""

from experiments import taming
from experiments.configs.grey_mnist_mlp_elbo import experiment as base
from vaelab.constraints import FRE
from vaelab.networks.frozen import MNISTFeatures

experiment = taming.geco(base, fre=FRE(kappa=0.5, features=MNISTFeatures()))
