"""MNIST-sum-hard, conditional ConvDRAW, GECO with a bound on the reconstruction error.

Source: Rezende & Viola, 2018, Taming VAEs, section 4.
Expect after 2,500 steps: RMSE 0.0972 in training and 0.0968 on the test set, rate 282 nats, λ 60 and falling
after 129 at most: the constraint was met late.
"""

from experiments import taming
from experiments.configs.mnist_sum_hard_convdraw_elbo import experiment as base
from vaelab.constraints import RE

experiment = taming.geco(base, re=RE(kappa=0.1))
