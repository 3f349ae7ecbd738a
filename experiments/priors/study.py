"""Nine priors on scikit-learn's digits: their experiments, and what is measured of each seed.

Grey 8×8 digits, two latent dimensions, small MLPs and a categorical likelihood over 17 values: the set-up of
Tomczak's post on learned priors (2022).
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from etils import epath

from vaelab import data, evaluation
from vaelab.evaluation.batches import map_batches
from vaelab.likelihoods import CategoricalDecoder
from vaelab.models import VAE
from vaelab.networks import MLP, ConditionalGaussian
from vaelab.plotting import Panel
from vaelab.priors import (
    GTM,
    AutoregressivePrior,
    FlowPrior,
    GaussianMixture,
    GTMVampPrior,
    HierarchicalPrior,
    Prior,
    ResampledPrior,
    StandardNormal,
    VampPrior,
)
from vaelab.runs import Experiment, Hook, Result, Trained, import_params
from vaelab.training import population
from vaelab.training.objectives import ELBO
from vaelab.training.optimisers import Adam
from vaelab.training.state import TrainState
from vaelab.types import Array, PyTree

SHAPE = (8, 8, 1)
_NUM_POINTS = 2000  # samples of prior and aggregated posterior
_PIXELS = 120  # of the side of a panel
_NUM_DOTS = 500  # training images in a panel


def experiment(prior: Prior, hidden: int = 256) -> Experiment:
    """The VAE with a prior, trained with early stopping."""
    model = VAE(
        encoder=ConditionalGaussian(MLP((hidden, hidden), event_ndims=3), dim=2),
        decoder=CategoricalDecoder(MLP((hidden, hidden)), shape=SHAPE, levels=17),
        prior=prior,
    )
    return Experiment(
        data.Digits(binarisation="none"), model, ELBO(), num_steps=2000, optimiser=Adam(1e-3),
        log_every=50, evaluate_every=50, patience=6, num_samples=500, posterior_samples=16,
        prior_samples=32,
    )  # fmt: skip


EXPERIMENTS: dict[str, Experiment] = {
    "standard": experiment(StandardNormal(2)),
    "mixture": experiment(GaussianMixture(2, 16)),
    "vamp": experiment(VampPrior(2, SHAPE, num_components=16, from_data=True)),
    "gtm": experiment(GTM(2, grid_size=4)),
    "gtm_vamp": experiment(GTMVampPrior(2, SHAPE, grid_size=4)),
    "flow": experiment(FlowPrior(2)),
    "hierarchical": experiment(HierarchicalPrior(2, hidden=(64, 64))),
    "autoregressive": experiment(AutoregressivePrior(2, hidden=(64,))),
    "resampled": experiment(ResampledPrior(2, max_tries=16)),
}


class Seed(NamedTuple):
    """What is measured of one seed, nats per image."""

    step: int  # of the best validation
    nll: float  # test images
    standard_error: float  # of the NLL, over images
    elbo: float
    rate: float
    marginal_kl: float  # training images
    hole_mass: float
    best_rate: float  # if q(z) of the test images were the prior, which no prior can beat
    best_elbo: float


def measure(result: Result) -> Seed:
    """Measures one seed."""
    run, report = result.run, result.report()
    aggregated = evaluation.aggregated_posterior(
        run.precise_subject(result.params, run.fixed_training_set())
    )
    surgery = evaluation.elbo_surgery(aggregated, run.key("surgery"), num_points=_NUM_POINTS)
    holes = evaluation.holes(aggregated, run.key("holes"), num_samples=_NUM_POINTS)
    test = evaluation.aggregated_posterior(run.subject(result.params, run.splits.test))
    best = evaluation.elbo_surgery(test, run.key("reference"), num_points=_NUM_POINTS)
    best_rate = best.mutual_information.mean
    return Seed(
        step=report.step,
        nll=-report.log_likelihood.mean,
        standard_error=report.log_likelihood.standard_error,
        elbo=report.elbo.mean,
        rate=report.rate.mean,
        marginal_kl=surgery.marginal_kl.mean,
        hole_mass=holes.hole_mass.mean,
        best_rate=best_rate,
        best_elbo=-report.distortion.mean - best_rate,
    )


class Snapshots(Hook):
    """Keeps parameters of the first member after 1, 4, 16, ... validations, each in a file of its step."""

    def __init__(self, folder: epath.Path, like: Experiment):
        self._folder, self._model = folder, like.model
        self._steps = [like.evaluate_every * 4**power for power in range(8)]

    def on_checkpoint(self, state: TrainState) -> None:
        step = int(state.step)
        if step in self._steps:
            self._folder.mkdir(parents=True, exist_ok=True)
            params = population.member(state.variables.params, 0)
            trained = Trained(self._model, params, {}, {}, step)
            trained.export(self._folder / f"{step}.npz")

    def read(self, last: int) -> dict[int, PyTree]:
        """The parameters by their steps, before the step `last`."""
        kept = [step for step in self._steps if step < last]
        return {step: import_params(self._folder / f"{step}.npz") for step in kept}


def panel(result: Result, params: PyTree, title: str) -> tuple[Panel, float]:
    """Densities of prior and aggregated posterior on a grid, and KL(q(z) ‖ p). For training images.

    The grid holds the codes and the central 99 % of the prior in each coordinate. A hole is where log q(z) is
    below the 1 % quantile of its own samples.
    """
    run, train = result.run, result.run.fixed_training_set()
    subject = run.precise_subject(params, train)
    aggregated = evaluation.aggregated_posterior(subject)
    holes = evaluation.holes(aggregated, run.key("panel"), num_samples=_NUM_POINTS)
    model, (z_key, prior_key) = subject.model.at(params), jax.random.split(run.key("dots"))
    points = np.asarray(model(train.x[:_NUM_DOTS], z_key).latents[0][0])
    prior = np.asarray(model.sample_latents(prior_key, _NUM_POINTS)[0])
    shown = np.concatenate([points, np.quantile(prior, [0.005, 0.995], axis=0)])
    low, high = shown.min(axis=0), shown.max(axis=0)
    centre, half = (low + high) / 2, 0.55 * np.max(high - low)
    axes = np.linspace(centre - half, centre + half, _PIXELS)
    grid = np.stack(np.meshgrid(*axes.T), axis=-1).reshape(-1, 2)
    log_p, log_q = map_batches(
        partial(_log_densities, subject.model, aggregated.density, params, aggregated.variables),
        grid, jax.random.key(0), batch_size=600,
    )  # fmt: skip
    (left, bottom), (right, top) = centre - half, centre + half
    square = (_PIXELS, _PIXELS)
    extent = (left, right, bottom, top)
    drawn = Panel(title, log_p.reshape(square), log_q.reshape(square), holes.level, points, extent)
    return drawn, holes.aggregated_to_prior.mean


@partial(jax.jit, static_argnums=(0, 1))
def _log_densities(
    model: VAE, density: Any, params: PyTree, variables: PyTree, z: Array, key: Array
) -> tuple[Array, Array]:
    """log p and log q at points z [B, 2]."""
    del key
    # One key for all points: the estimate of p is then as smooth in z as p itself.
    log_p = jax.vmap(lambda z: model.at(params).log_prior((z,), jax.random.key(0)))(z)
    return log_p, density.apply(variables, z, method="log_prob")
