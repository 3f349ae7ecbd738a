"""Objectives and priors on dynamically binarised MNIST, with 40 latent dimensions and short training.

Papers: Kingma & Welling, 2014, Auto-encoding variational Bayes (ELBO); Higgins et al., 2017, beta-VAE, and
Sønderby et al., 2016, Ladder VAEs (warm-up of β); Burda et al., 2016, Importance weighted autoencoders;
Tucker et al., 2019, Doubly reparameterized gradient estimators (DReG); Klushyn et al., 2019, Learning
hierarchical priors in VAEs (REWO); Rezende & Viola, 2018, Taming VAEs (GECO).

Protocol: gated layers 784-300-300-40 and back, Bernoulli likelihood, Adam at 5e-4, no early stopping,
log p(x) on a random subset of the test images. Training is much shorter than in the papers.
`vampprior.py` has the full protocol for comparisons with published numbers.
"""

from __future__ import annotations

import dataclasses

from vaelab.constraints import NLL
from vaelab.data import MNIST
from vaelab.likelihoods import BernoulliDecoder
from vaelab.models import VAE
from vaelab.networks import ConditionalGaussian, GatedMLP
from vaelab.priors import HierarchicalPrior, Prior, StandardNormal
from vaelab.runs.experiment import Experiment
from vaelab.training.duals import Geco, Rewo
from vaelab.training.objectives import ELBO, DoublyReparameterised, ImportanceWeighted, Lagrangian
from vaelab.training.optimisers import Adam


def _model(prior: Prior) -> VAE:
    return VAE(
        encoder=ConditionalGaussian(GatedMLP((300, 300), event_ndims=3), dim=40),
        decoder=BernoulliDecoder(GatedMLP((300, 300)), shape=(28, 28, 1)),
        prior=prior,
    )


_VAE = Experiment(
    data=MNIST(),
    model=_model(StandardNormal(latent_dim=40)),
    objective=ELBO(),
    optimiser=Adam(5e-4),
    num_steps=20_000,
    num_test=500,
    num_samples=500,
)

# A step with ten posterior samples costs several steps of the ELBO, so there are fewer of them.
_TEN_SAMPLES = dataclasses.replace(_VAE, num_steps=5_000)

_REWO = dataclasses.replace(
    _VAE,
    model=_model(HierarchicalPrior(latent_dim=40, num_samples=8, hidden=(300, 300))),
    objective=Lagrangian({"nll": NLL(kappa=0.085)}),
    dual=Rewo(),
)

EXPERIMENTS: dict[str, Experiment] = {
    "mnist_vae_elbo": _VAE,
    "mnist_vae_warmup": dataclasses.replace(_VAE, objective=ELBO(warmup_steps=10_000)),
    "mnist_vae_iwae": dataclasses.replace(
        _TEN_SAMPLES, objective=ImportanceWeighted(num_samples=10)
    ),
    "mnist_vae_dreg": dataclasses.replace(
        _TEN_SAMPLES, objective=DoublyReparameterised(num_samples=10)
    ),
    "mnist_vhp_elbo": dataclasses.replace(_REWO, objective=ELBO(), dual=None),  # reference for REWO
    "mnist_vhp_rewo": _REWO,
    "mnist_vhp_geco": dataclasses.replace(_REWO, dual=Geco()),  # the κ of REWO; λ ends below 1
}
