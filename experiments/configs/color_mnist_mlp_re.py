"""Color-MNIST, dense VAE, GECO with a bound on the reconstruction error.

Source: Rezende & Viola, 2018, Taming VAEs, section 4.
Expect after 2,500 steps, on the test set: RMSE 0.198, rate 32 nats, λ 1.2.
"""

from experiments import taming
from experiments.configs.color_mnist_mlp_elbo import experiment as base
from vaelab.constraints import RE

experiment = taming.geco(base, re=RE(kappa=0.2))
