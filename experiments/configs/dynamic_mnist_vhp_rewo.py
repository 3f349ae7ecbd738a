"""Dynamic MNIST, hierarchical prior trained by REWO, otherwise the VampPrior line's protocol.

Source: Klushyn et al., 2019, Learning hierarchical priors in VAEs.
Cost: 25 epochs in 18 minutes on one shared CPU core. After them: ELBO −92.3 nats, log p(x) −86.9
(5000 samples, 1,000 images).
"""

from experiments.protocol import protocol
from vaelab.constraints import NLL
from vaelab.data import MNIST
from vaelab.priors import HierarchicalPrior
from vaelab.training.objectives import Lagrangian
from vaelab.training.optimisers import Rewo

experiment = protocol(
    MNIST(),
    HierarchicalPrior(latent_dim=40, num_samples=8, hidden=(300, 300)),
    Lagrangian({"nll": NLL(kappa=0.085)}),
    Rewo(),
)
