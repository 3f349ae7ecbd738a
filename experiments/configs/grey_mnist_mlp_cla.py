"""Grey MNIST, dense VAE, GECO with a frozen classifier that must recognise the digits.

Source: Rezende & Viola, 2018, Taming VAEs, section 4.
"""

from experiments import taming
from experiments.configs.grey_mnist_mlp_elbo import experiment as base
from vaelab.constraints import CLA
from vaelab.networks.frozen import MNISTClassifier

experiment = taming.geco(base, cla=CLA(kappa=0.8, classifier=MNISTClassifier(temperature=2.0)))
