"""The pictures a run leaves in its workdir."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from experiments.run import Run
from vaelab import plotting
from vaelab.constraints import NLL
from vaelab.training.metrics import read_metrics
from vaelab.training.state import TrainState


def save(run: Run, state: TrainState, workdir: epath.Path) -> None:
    """Writes training.png, reconstructions.png, samples.png and latent_space.png."""
    figures = {
        "training": _training(run, workdir),
        "reconstructions": _reconstructions(run, state),
        "samples": _samples(run, state),
    }
    if run.experiment.model.prior.latent_dim > 1:
        figures["latent_space"] = _latent_space(run, state)
    for name, figure in figures.items():
        with (workdir / f"{name}.png").open("wb") as file:
            figure.savefig(file, format="png")


def _training(run: Run, workdir: epath.Path):
    x = run.splits.train.x
    thresholds = {
        name: constraint.kappa * constraint.scale(x.shape[1:])
        for name, constraint in run.experiment.objective.constraints.items()
        if isinstance(constraint, NLL)
    }
    return plotting.training_curves(read_metrics(workdir), thresholds=thresholds)


def _reconstructions(run: Run, state: TrainState):
    model, x, key = run.experiment.model, run.splits.test.x[:20], run.key("reconstructions")

    @jax.jit
    def means(variables, x):
        return model.apply(variables, x, key).likelihood.mean()[0]

    return plotting.reconstructions(x, np.asarray(means(_variables(run, state), x)))


def _samples(run: Run, state: TrainState):
    model, key = run.experiment.model, run.key("samples")

    @jax.jit
    def means(variables):
        z = model.apply(variables, key, 64, method="sample_latents")
        return model.apply(variables, z, method="decode").mean()

    return plotting.samples(np.asarray(means(_variables(run, state))))


def _latent_space(run: Run, state: TrainState):
    model, variables = run.experiment.model, _variables(run, state)
    sample_key, prior_key, density_key = jax.random.split(run.key("latents"), 3)
    test = run.splits.test
    x = jnp.asarray(test.x[:2000])
    z = np.asarray(jax.jit(lambda v: model.apply(v, x, sample_key).latents[0][0])(variables))
    labels = None if test.labels is None else test.labels[: len(x)]

    samples = np.asarray(
        jax.jit(lambda v: model.apply(v, prior_key, 2000, method="sample_latents"))(variables)
    )
    if model.prior.latent_dim > 2:
        return plotting.latent_space(z, labels, prior_samples=samples)
    precise = run.precise_model
    shown = np.concatenate([z, samples])
    low, high = shown.min(axis=0), shown.max(axis=0)
    low, high = low - 0.1 * (high - low), high + 0.1 * (high - low)
    grid = jnp.stack(jnp.meshgrid(*np.linspace(low, high, 120).T), axis=-1)
    log_density = np.asarray(
        jax.jit(lambda v: precise.apply(v, grid, density_key, method="prior_log_prob"))(variables)
    )
    extent = (low[0], high[0], low[1], high[1])
    return plotting.latent_space(z, labels, log_density=log_density, extent=extent)


def _variables(run: Run, state: TrainState):
    return {"params": run.chosen(state).variables.params}
