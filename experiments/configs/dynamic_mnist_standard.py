"""Dynamic MNIST, standard normal prior, the VampPrior line's protocol.

Source: Tomczak & Welling, 2018, VAE with a VampPrior.
Cost: 1.3 hours on two CPU cores, early stopping after 1,151 epochs. Expect on the test set: ELBO −88.5
nats, log p(x) −84.4 (5000 samples; published −84.45 ± .12).
"""

from experiments.protocol import protocol
from vaelab.data import MNIST
from vaelab.priors import StandardNormal

experiment = protocol(MNIST(), StandardNormal(latent_dim=40))
