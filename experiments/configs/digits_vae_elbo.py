"""Digits, standard normal prior, ELBO: the plain VAE.

Source: Kingma & Welling, 2014, Auto-encoding variational Bayes.
Cost: 1 to 2 minutes on two CPU cores. Expect on the test set: ELBO −23.5 nats, log p(x) −23.0 (5000
samples).
"""

from vaelab import data
from vaelab.likelihoods import BernoulliDecoder
from vaelab.models import VAE
from vaelab.networks import ConditionalGaussian, GatedMLP
from vaelab.priors import StandardNormal
from vaelab.runs.experiment import Experiment
from vaelab.training.objectives import ELBO
from vaelab.training.optimisers import Adam

experiment = Experiment(
    data=data.Digits(),
    model=VAE(
        encoder=ConditionalGaussian(GatedMLP((128, 128), event_ndims=3), dim=2),
        decoder=BernoulliDecoder(GatedMLP((128, 128)), shape=(8, 8, 1)),
        prior=StandardNormal(latent_dim=2),
    ),
    objective=ELBO(),
    optimiser=Adam(5e-4),
    num_steps=20_000,
    evaluate_every=500,
    patience=20,
)
