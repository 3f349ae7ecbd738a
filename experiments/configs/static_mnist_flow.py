"""Static MNIST, RealNVP prior, the VampPrior line's protocol.

Source: Dinh et al., 2017, Density estimation using Real NVP; as a prior, Chen et al., 2017,
Variational lossy autoencoder.
"""

from experiments.protocol import protocol
from vaelab.data import StaticMNIST
from vaelab.priors import FlowPrior

experiment = protocol(StaticMNIST(), FlowPrior(latent_dim=40))
