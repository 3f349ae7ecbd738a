"""Grey MNIST, dense VAE, GECO with two constraints: reconstruction error and classification.

Source: Rezende & Viola, 2018, Taming VAEs, section 4.
"""

from experiments import taming
from experiments.configs.grey_mnist_mlp_elbo import experiment as base
from vaelab.constraints import CLA, RE
from vaelab.networks.frozen import MNISTClassifier

experiment = taming.geco(
    base,
    initial_multiplier={"re": 1.0, "cla": 100.0},
    re=RE(kappa=0.15),
    cla=CLA(kappa=0.95, classifier=MNISTClassifier()),
)
