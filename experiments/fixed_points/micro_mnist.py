"""Figure 8 of Taming VAEs: how constraints tile the latent space, on seven digits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np
from matplotlib.figure import Figure

from vaelab import plotting
from vaelab.constraints import CLA, RE, Constraint
from vaelab.data import MicroMNIST
from vaelab.likelihoods import GaussianDecoder
from vaelab.models import VAE
from vaelab.networks import MLP, ConditionalFlow
from vaelab.networks.frozen import MNISTClassifier
from vaelab.priors import StandardNormal
from vaelab.runs import Experiment, Result
from vaelab.training.duals import Geco
from vaelab.training.objectives import ELBO, Lagrangian
from vaelab.training.optimisers import Adam
from vaelab.types import PRNGKey

_NUM_SAMPLES = 100  # posterior samples of each digit
_NUM_LAST = 2  # logged rows, each of 100 steps, over which numbers are averaged

_ELBO = Experiment(
    data=MicroMNIST(),
    model=VAE(
        encoder=ConditionalFlow(MLP((64,), event_ndims=3), 2, num_layers=8, hidden=(32,)),
        decoder=GaussianDecoder(MLP((64, 64)), (28, 28, 1), learned=True),
        prior=StandardNormal(2),
    ),
    objective=ELBO(num_samples=8),
    optimiser=Adam(2e-3),
    batch_size=7,
    num_steps=4000,
)


def _geco(**constraints: Constraint) -> Experiment:
    """The rate under constraints. Seven images are learned quickly, so the step size is large."""
    starts = {name: {"re": 1.0, "cla": 100.0}[name] for name in constraints}
    decoder = GaussianDecoder(MLP((64, 64)), (28, 28, 1), scale=0.1)
    return _ELBO.with_fields(
        model=_ELBO.model.clone(decoder=decoder),
        objective=Lagrangian(constraints, num_samples=8),
        dual=Geco(step_size=0.1, initial_multiplier=starts),
    )


# Without the loose bound on the error, a decoder under CLA alone first finds the one image that most labels
# agree with. The classifier is sure of it and has no gradient.
EXPERIMENTS: dict[str, Experiment] = {
    "elbo": _ELBO,
    "re_0.06": _geco(re=RE(0.06)),
    "re_0.1": _geco(re=RE(0.1)),
    "re_cla": _geco(re=RE(0.27), cla=CLA(0.9, MNISTClassifier())),
}


def title(experiment: Experiment) -> str:
    """The objective and its constraints."""
    constraints = experiment.objective.constraints.values()
    return ", ".join([experiment.objective_label, *(each.describe() for each in constraints)])


class Reached(NamedTuple):
    """What a model came to in training."""

    rate: float  # nats; log 7 tells all digits apart
    rmse: float
    multipliers: Mapping[str, float]
    achieved: Mapping[str, float]  # moving average of each constraint, in κ's units


def posteriors(
    trained: Mapping[str, Result], key: PRNGKey
) -> tuple[Figure, dict[str, Reached | float]]:
    """Samples of each digit's posterior under each model, and what each model came to."""
    samples, numbers = {}, {}
    for name, result in trained.items():
        digits, bound = result.run.splits.train.x, result.bound
        posterior = bound.level_posterior(bound.encode(digits))
        z = posterior.sample(seed=key, sample_shape=(_NUM_SAMPLES,))
        samples[name] = np.asarray(z).swapaxes(0, 1)
        numbers[name] = reached(result)
    prior = np.asarray(jax.random.normal(jax.random.fold_in(key, 1), (1000, 2)))
    title = f"Micro-MNIST: {_NUM_SAMPLES} posterior samples of each of seven digits"
    figure = plotting.posterior_scatter(samples, digits, prior_samples=prior, title=title)
    return figure, {"log 7": float(np.log(7)), **numbers}


def reached(result: Result) -> Reached:
    """The numbers of a model at the end of training."""
    history, run = result.history, result.run
    return Reached(
        rate=float(np.mean(history["rate"][-_NUM_LAST:])),
        rmse=float(np.sqrt(np.mean(history["mse"][-_NUM_LAST:]))),
        multipliers=result.multipliers,
        achieved={
            name: constraint.achieved(result.average[name], run.event_shape)
            for name, constraint in run.experiment.objective.constraints.items()
        },
    )
