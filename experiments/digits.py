"""Objectives and priors on scikit-learn's 8×8 digits, with two latent dimensions. No data file is needed.

Papers: Kingma & Welling, 2014, Auto-encoding variational Bayes (ELBO); Higgins et al., 2017, beta-VAE, and
Sønderby et al., 2016, Ladder VAEs (warm-up of β); Burda et al., 2016, Importance weighted autoencoders;
Tucker et al., 2019, Doubly reparameterized gradient estimators (DReG); Klushyn et al., 2019, Learning
hierarchical priors in VAEs (REWO); Rezende & Viola, 2018, Taming VAEs (GECO).

Protocol: gated dense layers, Bernoulli likelihood, Adam at 5e-4, a validation every 500 steps. Training
stops after 20 validations without improvement. None of the papers uses this data set.
"""

from __future__ import annotations

import dataclasses

from vaelab.constraints import NLL
from vaelab.data import Digits
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
        encoder=ConditionalGaussian(GatedMLP((128, 128), event_ndims=3), dim=2),
        decoder=BernoulliDecoder(GatedMLP((128, 128)), shape=(8, 8, 1)),
        prior=prior,
    )


_VAE = Experiment(
    data=Digits(),
    model=_model(StandardNormal(latent_dim=2)),
    objective=ELBO(),
    optimiser=Adam(5e-4),
    num_steps=20_000,
    evaluate_every=500,
    patience=20,
)

_REWO = dataclasses.replace(
    _VAE,
    model=_model(HierarchicalPrior(latent_dim=2, num_samples=8, hidden=(64, 64))),
    objective=Lagrangian({"nll": NLL(kappa=0.345)}),
    dual=Rewo(step_size=0.1),
    num_steps=12_000,
)

_VHP_ELBO = dataclasses.replace(_REWO, objective=ELBO(), dual=None)

EXPERIMENTS: dict[str, Experiment] = {
    "digits_vae_elbo": _VAE,
    "digits_vae_warmup": dataclasses.replace(_VAE, objective=ELBO(warmup_steps=2000)),
    "digits_vae_iwae": dataclasses.replace(_VAE, objective=ImportanceWeighted(num_samples=10)),
    "digits_vhp_elbo": _VHP_ELBO,  # the reference for REWO and GECO
    "digits_vhp_dreg": dataclasses.replace(
        _VHP_ELBO, objective=DoublyReparameterised(num_samples=4)
    ),
    "digits_vhp_rewo": _REWO,
    # λ ends below 1, where the optimum is not the ELBO's. Early stopping would select by the ELBO.
    "digits_vhp_geco": dataclasses.replace(_REWO, dual=Geco(), patience=None),
}
