"""MNIST-sum, conditional ConvDRAW, GECO with a bound on the reconstruction error.

Source: Rezende & Viola, 2018, Taming VAEs, section 4.
Expect after 2,500 steps: RMSE 0.0994 in training and 0.0983 on the test set, rate 51 nats, λ 6.3 after 14 at most.
"""

from experiments import taming
from experiments.configs.mnist_sum_convdraw_elbo import experiment as base
from vaelab.constraints import RE

experiment = taming.geco(base, re=RE(kappa=0.1))
