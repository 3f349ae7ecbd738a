"""Color-MNIST, dense VAE, GECO with a bound on the error of a frozen classifier's features.

Source: Rezende & Viola, 2018, Taming VAEs, section 4.
Expect after 2,500 steps, on the test set: 0.69 per feature, rate 8.3 nats, λ 0.3.
"""

from experiments import taming
from experiments.configs.color_mnist_mlp_elbo import experiment as base
from vaelab.constraints import FRE
from vaelab.networks.frozen import MNISTFeatures

experiment = taming.geco(base, fre=FRE(kappa=0.7, features=MNISTFeatures(channels=3)))
