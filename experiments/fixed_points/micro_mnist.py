"""Figure 8 of Taming VAEs: how constraints tile the latent space, on seven digits."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from experiments import taming
from vaelab import plotting
from vaelab.constraints import CLA, RE
from vaelab.data import MicroMNIST
from vaelab.likelihoods import GaussianDecoder
from vaelab.models import VAE
from vaelab.networks import MLP, ConditionalFlow
from vaelab.networks.frozen import MNISTClassifier
from vaelab.priors import StandardNormal
from vaelab.runs.experiment import Experiment
from vaelab.runs.run import Run
from vaelab.training.duals import Geco
from vaelab.training.objectives import ELBO
from vaelab.training.optimisers import Adam
from vaelab.training.sharding import make_mesh, replicate
from vaelab.types import PRNGKey

NUM_STEPS, NUM_SAMPLES = 4000, 100

BASE = Experiment(
    data=MicroMNIST(),
    model=VAE(
        encoder=ConditionalFlow(MLP((64,), event_ndims=3), 2, num_layers=8, hidden=(32,)),
        decoder=GaussianDecoder(MLP((64, 64)), (28, 28, 1), learned=True),
        prior=StandardNormal(2),
    ),
    objective=ELBO(num_samples=8),
    optimiser=Adam(2e-3),
    batch_size=7,
    num_steps=NUM_STEPS,
)


def experiments() -> dict[str, Experiment]:
    """The figure's models: the ELBO, two bounds on the error, one on the classification.

    The last has a loose bound on the error as well. On classification alone the decoder first finds
    the one image that most labels agree with; the classifier is sure of it, its gradient is gone, and
    no λ brings it back.
    """
    constrained = {
        "GECO, RE ≤ 0.06": dict(re=RE(kappa=0.06)),
        "GECO, RE ≤ 0.1": dict(re=RE(kappa=0.1)),
        "GECO, RE ≤ 0.27, CLA ≥ 0.9": dict(
            re=RE(kappa=0.27), cla=CLA(kappa=0.9, classifier=MNISTClassifier())
        ),
    }
    return {"ELBO": BASE} | {
        name: _for_seven_images(taming.geco(BASE, **constraints))  # type: ignore[arg-type]
        for name, constraints in constrained.items()
    }


def _for_seven_images(experiment: Experiment) -> Experiment:
    objective = dataclasses.replace(experiment.objective, num_samples=8)  # type: ignore[type-var]
    starts = {name: {"re": 1.0, "cla": 100.0}[name] for name in objective.constraints}
    dual = Geco(step_size=0.1, initial_multiplier=starts)  # seven images are learned quickly
    return dataclasses.replace(experiment, objective=objective, dual=dual)


def posteriors(
    key: PRNGKey, data_dir: str | None, num_steps: int = NUM_STEPS
) -> tuple[Figure, dict[str, Any]]:
    """Trains the models and draws samples of each datum's posterior; and what each came to."""
    samples, numbers = {}, {}
    for name, experiment in experiments().items():
        run = Run.load(experiment, data_dir)
        mesh = make_mesh(devices=jax.devices()[:1])
        steps = run.compile_steps(mesh)
        state, source = replicate((run.initial_state(), run.source()), mesh)
        state, metrics = steps(state, source, num_steps=num_steps)
        bound = experiment.model.at(state.evaluated.params)
        posterior = bound.level_posterior(bound.encode(jnp.asarray(run.splits.train.x)))
        z = posterior.sample(seed=key, sample_shape=(NUM_SAMPLES,))
        samples[name] = np.asarray(z).swapaxes(0, 1)
        last = {key: float(np.mean(value[-200:])) for key, value in metrics.items()}
        numbers[name] = {
            "rate": last["rate"],
            "rmse": float(np.sqrt(last["mse"])),
            "multipliers": {k: float(v) for k, v in state.variables.multipliers.items()},
            "achieved": {
                k: c.achieved(float(state.opt_state.average[k]), run.splits.train.x.shape[1:])
                for k, c in experiment.objective.constraints.items()
            },
        }
    prior = np.asarray(jax.random.normal(jax.random.fold_in(key, 1), (1000, 2)))
    title = f"Micro-MNIST: {NUM_SAMPLES} posterior samples of each of seven digits"
    figure = plotting.posterior_scatter(
        samples, run.splits.train.x, prior_samples=prior, title=title
    )
    return figure, {"steps": num_steps, "log 7": float(np.log(7)), "models": numbers}
