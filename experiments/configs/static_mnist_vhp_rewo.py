"""Static MNIST, hierarchical prior trained by REWO, otherwise the VampPrior line's protocol.

Source: Klushyn et al., 2019, Learning hierarchical priors in VAEs.
"""

from experiments.protocol import protocol
from vaelab.constraints import NLL
from vaelab.data import StaticMNIST
from vaelab.priors import HierarchicalPrior
from vaelab.training.objectives import Lagrangian
from vaelab.training.optimisers import Rewo

experiment = protocol(
    StaticMNIST(),
    HierarchicalPrior(latent_dim=40, num_samples=8, hidden=(300, 300)),
    Lagrangian({"nll": NLL(kappa=0.085)}),
    Rewo(),
)
