"""Color-MNIST, dense VAE, GECO with a frozen classifier that must recognise the digits.

Source: Rezende & Viola, 2018, Taming VAEs, section 4.
Expect after 2,500 steps, on the test set: a share of 0.54 of the digits, just met in training, with λ at
15,000 and only beginning to fall.
"""

from experiments import taming
from experiments.configs.color_mnist_mlp_elbo import experiment as base
from vaelab.constraints import CLA
from vaelab.networks.frozen import MNISTClassifier

experiment = taming.geco(
    base,
    initial_multiplier=100.0,
    cla=CLA(kappa=0.5, classifier=MNISTClassifier(channels=3, share=True, temperature=2.0)),
)
