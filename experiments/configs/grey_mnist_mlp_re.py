"""Grey MNIST, dense VAE, GECO with a bound on the reconstruction error.

Source: Rezende & Viola, 2018, Taming VAEs, section 4.
Cost: 4,000 steps of 15 members (5 κ, 3 seeds) in 4 minutes on two busy CPU cores. Expect after them, at
κ = 0.15: RMSE 0.149, rate 21 nats, λ 2.4; at κ = 0.1 the constraint is infeasible for this model.
"""

from experiments import taming
from experiments.configs.grey_mnist_mlp_elbo import experiment as base
from vaelab.constraints import RE

experiment = taming.geco(base, re=RE(kappa=0.15))
