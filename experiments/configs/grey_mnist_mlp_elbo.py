"""Grey MNIST, dense VAE, ELBO with a learned global σ.

Source: Rezende & Viola, 2018, Taming VAEs, section 4.
Cost: 4,000 steps of 5 seeds in 70 s on two busy CPU cores. Expect after them: RMSE 0.125, rate 74 nats.
"""

from experiments import taming
from vaelab import data

experiment = taming.mlp(data.MNIST(binarisation="none"), (28, 28, 1))
