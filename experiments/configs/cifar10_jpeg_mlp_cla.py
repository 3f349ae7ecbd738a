"""CIFAR-10 as JPEG, dense VAE, GECO with a frozen classifier that must recognise the classes.

Source: Rezende & Viola, 2018, Taming VAEs, section 4.
The classifier is made by python -m experiments.frozen_networks cifar10_jpeg. The images are lossy:
no figure compares with CIFAR-10's.
Expect after 2,500 steps: met, 0.16 in training and 0.13 on the test set, with λ at 107 and a rate of 1 nat.
The classifier gives the labels of training images themselves 0.25 at this temperature, which no κ should ask.
"""

from experiments import taming
from experiments.configs.cifar10_jpeg_mlp_elbo import experiment as base
from vaelab.constraints import CLA
from vaelab.networks.frozen import FrozenClassifier

experiment = taming.geco(
    base,
    initial_multiplier=100.0,
    cla=CLA(
        kappa=0.15,
        classifier=FrozenClassifier("runs/frozen_networks/cifar10_jpeg.npz", temperature=2.0),
    ),
)
