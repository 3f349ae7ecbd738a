"""Digits, hierarchical prior, REWO: the project's main job, on scikit-learn's 8×8 digits.

Source: Klushyn et al., 2019, Learning hierarchical priors in VAEs.
Cost: 1 minute on two CPU cores. λ falls from 1000 to 1 within about 4000 steps. Expect on the
test set: ELBO −23.9 nats, log p(x) −23.4 (5000 samples).
"""

from vaelab import data
from vaelab.constraints import NLL
from vaelab.likelihoods import BernoulliDecoder
from vaelab.models import VAE
from vaelab.networks import ConditionalGaussian, GatedMLP
from vaelab.priors import HierarchicalPrior
from vaelab.runs.experiment import Experiment
from vaelab.training.duals import Rewo
from vaelab.training.objectives import Lagrangian
from vaelab.training.optimisers import Adam

experiment = Experiment(
    data=data.Digits(),
    model=VAE(
        encoder=ConditionalGaussian(
            GatedMLP((128, 128), event_ndims=3), 2, log_variance_range=None
        ),
        decoder=BernoulliDecoder(GatedMLP((128, 128)), shape=(8, 8, 1)),
        prior=HierarchicalPrior(latent_dim=2, num_samples=8, hidden=(64, 64)),
    ),
    objective=Lagrangian({"nll": NLL(kappa=0.345)}),
    optimiser=Adam(5e-4),
    dual=Rewo(step_size=0.1),
    num_steps=12_000,
    evaluate_every=500,
    patience=20,
)
