"""Priors on MNIST under the protocol of Tomczak & Welling, 2018, VAE with a VampPrior.

Papers: Tomczak & Welling, 2018 (standard normal, mixture, VampPrior); Dinh et al., 2017, Density estimation
using Real NVP, as a prior in Chen et al., 2017, Variational lossy autoencoder (flow); Klushyn et al., 2019,
Learning hierarchical priors in VAEs (hierarchical prior, REWO). Norouzi et al., 2020, Exemplar VAE, report
numbers of the same protocol.

Protocol, as in the VampPrior's code: gated layers 784-300-300-40 and back; log σ² of the posterior clipped
to [−6, 2]; batches of 100; Adam at 5e-4 on gradients of unit norm per tensor; one-sample KL; β warmed up
over 100 epochs; at most 2000 epochs; patience of 50 epochs after the warm-up; log p(x) with 5000 samples
on the whole test set. `dynamic_mnist_*` draws the binary pixels anew in each step; `static_mnist_*` uses
the fixed binarisation of Larochelle & Murray, 2011.

Differences from the paper: weights have Flax's initialisation instead of He-normal; β rises with every step
instead of every epoch; the two branches of a gated layer share one tensor, and so do mean and log-variance;
pseudo-inputs start at training images. The hierarchical prior uses REWO instead of the warm-up.
"""

from __future__ import annotations

from vaelab.constraints import NLL
from vaelab.data import MNIST, DataSet, StaticMNIST
from vaelab.likelihoods import BernoulliDecoder
from vaelab.models import VAE
from vaelab.networks import ConditionalGaussian, GatedMLP
from vaelab.priors import FlowPrior, GaussianMixture, HierarchicalPrior, StandardNormal, VampPrior
from vaelab.priors.base import Prior
from vaelab.runs.experiment import Experiment
from vaelab.training.duals import Dual, Rewo
from vaelab.training.objectives import ELBO, Lagrangian, Objective
from vaelab.training.optimisers import NormalisedAdam

_STEPS_PER_EPOCH = 500  # 50,000 images
_WARM_UP = ELBO(warmup_steps=100 * _STEPS_PER_EPOCH, closed_form=False)


def _protocol(
    data: DataSet, prior: Prior, objective: Objective = _WARM_UP, dual: Dual | None = None
) -> Experiment:
    """The protocol with one prior."""
    return Experiment(
        data=data,
        model=VAE(
            encoder=ConditionalGaussian(
                GatedMLP((300, 300), event_ndims=3), dim=40, log_variance_range=(-6.0, 2.0)
            ),
            decoder=BernoulliDecoder(GatedMLP((300, 300)), shape=(28, 28, 1)),
            prior=prior,
        ),
        objective=objective,
        optimiser=NormalisedAdam(5e-4),
        dual=dual,
        num_steps=2000 * _STEPS_PER_EPOCH,
        log_every=_STEPS_PER_EPOCH,
        evaluate_every=_STEPS_PER_EPOCH,
        patience=50,
    )


def _priors(data: DataSet) -> dict[str, Experiment]:
    """The protocol with each prior on one data set."""
    pseudo_inputs = VampPrior(latent_dim=40, shape=(28, 28, 1), num_components=500, from_data=True)
    return {
        "standard": _protocol(data, StandardNormal(latent_dim=40)),
        "mixture": _protocol(data, GaussianMixture(latent_dim=40, num_components=500)),
        "vamp": _protocol(data, pseudo_inputs),
        "flow": _protocol(data, FlowPrior(latent_dim=40)),
        "vhp_rewo": _protocol(
            data,
            HierarchicalPrior(latent_dim=40, num_samples=8, hidden=(300, 300)),
            Lagrangian({"nll": NLL(kappa=0.085)}),
            Rewo(),
        ),
    }


FAMILIES: dict[str, dict[str, Experiment]] = {
    "dynamic_mnist": _priors(MNIST()),
    "static_mnist": _priors(StaticMNIST()),
}

EXPERIMENTS: dict[str, Experiment] = {
    f"{family}_{prior}": row for family, rows in FAMILIES.items() for prior, row in rows.items()
}
