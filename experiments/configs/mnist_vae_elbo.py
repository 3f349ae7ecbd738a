"""MNIST, standard normal prior, ELBO: the plain VAE.

Source: Kingma & Welling, 2014, Auto-encoding variational Bayes.
Cost: 40 epochs, 6 minutes on two busy CPU cores. Expect on the test set: ELBO −94.5 nats, log p(x)
−88.1 (500 samples, first 500 images).
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
    data=data.MNIST(),
    model=VAE(
        encoder=ConditionalGaussian(GatedMLP((300, 300), event_ndims=3), dim=40),
        decoder=BernoulliDecoder(GatedMLP((300, 300)), shape=(28, 28, 1)),
        prior=StandardNormal(latent_dim=40),
    ),
    objective=ELBO(),
    optimiser=Adam(5e-4),
    num_steps=20_000,
    num_test=500,
    num_samples=500,
)
