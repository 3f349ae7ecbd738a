"""What the benchmark trains: batches of 100 made images of 28×28, networks 784-300-300-40."""

from __future__ import annotations

import numpy as np

from vaelab.constraints import NLL
from vaelab.data import MNIST
from vaelab.likelihoods import BernoulliDecoder
from vaelab.models import VAE
from vaelab.networks import MLP, ConditionalFlow, ConditionalGaussian
from vaelab.priors import GTM, GaussianMixture, HierarchicalPrior, Prior, StandardNormal, VampPrior
from vaelab.runs import Experiment
from vaelab.training import ELBO, Adam, ImportanceWeighted, Lagrangian
from vaelab.training.duals import Geco, Rewo
from vaelab.types import Examples, Splits

_SIZES = (300, 300)


def _experiment(prior: Prior | None = None, *, flow: bool = False, **changes) -> Experiment:
    trunk = MLP(_SIZES, event_ndims=3)
    model = VAE(
        encoder=ConditionalFlow(trunk, 40) if flow else ConditionalGaussian(trunk, dim=40),
        decoder=BernoulliDecoder(MLP(_SIZES), shape=(28, 28, 1)),
        prior=prior or StandardNormal(40),
    )
    plain = Experiment(
        data=MNIST(), model=model, objective=ELBO(), optimiser=Adam(5e-4), num_steps=1000
    )
    return plain.with_fields(**changes)


def _hierarchical() -> HierarchicalPrior:
    return HierarchicalPrior(40, num_samples=8, hidden=_SIZES)


_NLL = Lagrangian({"nll": NLL(kappa=0.085)})

EXPERIMENTS: dict[str, Experiment] = {
    "VAE": _experiment(),
    "VAMP-500": _experiment(VampPrior(40, num_components=500)),
    "hierarchical prior": _experiment(_hierarchical()),
    "IWAE-10": _experiment(objective=ImportanceWeighted(num_samples=10)),
    "flow posterior": _experiment(flow=True),
    "mixture-500": _experiment(GaussianMixture(40, num_components=500)),
    "GTM-484": _experiment(GTM(40, grid_size=22)),
    "GECO": _experiment(_hierarchical(), objective=_NLL, dual=Geco()),
    "REWO": _experiment(_hierarchical(), objective=_NLL, dual=Rewo()),
}

SMALL = Experiment(
    data=MNIST(),
    model=VAE(
        encoder=ConditionalGaussian(MLP((32,), event_ndims=3), dim=2),
        decoder=BernoulliDecoder(MLP((32,)), shape=(8, 8, 1)),
        prior=StandardNormal(2),
    ),
    objective=ELBO(),
    optimiser=Adam(1e-3),
    num_steps=1000,
    batch_size=50,
)
"""A member of a sweep."""


def images(shape: tuple[int, ...] = (28, 28, 1)) -> Splits:
    """Grey images of about MNIST's mean: the time depends on no file."""
    x = 0.26 * np.random.default_rng(0).random((10_000, *shape), np.float32)
    binary = Examples(np.round(2 * x[:1000]))
    return Splits(Examples(x), binary, binary)
