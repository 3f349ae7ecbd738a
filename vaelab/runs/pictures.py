"""The pictures a run leaves in its workdir."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from vaelab import plotting
from vaelab.checks import UndefinedError
from vaelab.models import Model
from vaelab.runs.run import Run
from vaelab.runs.workdir import write_figure
from vaelab.training.metrics import read_metrics
from vaelab.training.state import TrainState
from vaelab.types import Array, Examples, PRNGKey, PyTree


def save(run: Run, state: TrainState, workdir: epath.Path) -> None:
    """Writes training.png and a plot of each level's latent space; of data that can be looked at,
    reconstructions.png and samples.png."""
    params = run.chosen(state).variables.params
    model, test = run.experiment.model, run.splits.test
    shown = test.take(slice(20))
    means = np.asarray(reconstructions(model, params, shown, run.key("reconstructions")))
    made = np.asarray(samples(model, params, test.take(slice(64)), run.key("samples")))
    plots = {"training": _training(run, workdir)}
    inputs, outputs, sampled = (run.show(x) for x in (shown.x, means, made))
    if inputs is not None and outputs is not None and sampled is not None:
        note = max(inputs.note, outputs.note, key=len)  # one is the beginning of the other
        plots["reconstructions"] = plotting.reconstructions(
            inputs.images, outputs.images, note=note
        )
        plots["samples"] = plotting.samples(sampled.images, note=sampled.note)
    for level, dim in enumerate(model.latent_dims):
        if dim > 1:
            name = "latent_space" + (f"_{level}" if len(model.latent_dims) > 1 else "")
            plots[name] = _latent_space(run, params, level)
    for name, figure in plots.items():
        write_figure(workdir / f"{name}.png", figure)


@partial(jax.jit, static_argnums=0)
def reconstructions(model: Model, params: PyTree, examples: Examples, key: PRNGKey) -> Array:
    """The likelihood's mean at one posterior sample of each example, [N, *event]."""
    terms = model.at(params)(examples.x, key, context=examples.context)
    return terms.likelihood.mean()[0]


@partial(jax.jit, static_argnums=0)
def samples(model: Model, params: PyTree, like: Examples, key: PRNGKey) -> Array:
    """The likelihood's mean at as many samples of the prior, given their contexts where there are any."""
    latents = model.at(params).sample_latents(key, len(like.x), like.context)
    return model.at(params).decode(latents, like.context).mean()


def _training(run: Run, workdir: epath.Path):
    x = run.splits.train.x
    thresholds = {
        name: constraint.kappa * constraint.divisor(x.shape[1:])
        for name, constraint in run.experiment.objective.constraints.items()
        if constraint.in_nats
    }
    return plotting.training_curves(read_metrics(workdir), thresholds=thresholds)


def _latent_space(run: Run, params: PyTree, level: int):
    """Posterior samples of test examples and prior samples; the prior's density where D = 2 and it has one."""
    model = run.experiment.model
    shown_level = level if len(model.latent_dims) > 1 else None
    sample_key, prior_key, density_key = jax.random.split(run.key("latents"), 3)
    test = run.splits.test.take(slice(2000))
    z = np.asarray(_posterior_samples(model, params, test, sample_key)[level])
    samples = np.asarray(_prior_samples(model, params, test, prior_key)[level])
    labels = None if test.labels is None or test.labels.ndim > 1 else test.labels
    if model.latent_dims[level] > 2:
        return plotting.latent_space(z, labels, prior_samples=samples, level=shown_level)
    shown = np.concatenate([z, samples])
    low, high = shown.min(axis=0), shown.max(axis=0)
    low, high = low - 0.1 * (high - low), high + 0.1 * (high - low)
    grid = jnp.stack(jnp.meshgrid(*np.linspace(low, high, 120).T), axis=-1)
    precise = model.with_prior_samples(run.experiment.prior_samples)
    try:
        log_density = np.asarray(_log_density(precise, level, params, grid, density_key))
    except UndefinedError:
        return plotting.latent_space(z, labels, prior_samples=samples, level=shown_level)
    extent = (low[0], high[0], low[1], high[1])
    return plotting.latent_space(
        z, labels, log_density=log_density, extent=extent, level=shown_level
    )


@partial(jax.jit, static_argnums=0)
def _posterior_samples(model: Model, params: PyTree, examples: Examples, key: PRNGKey):
    """One z ~ q(z|x) for each example, of every level."""
    terms = model.at(params)(examples.x, key, context=examples.context)
    return tuple(z[0] for z in terms.latents)


@partial(jax.jit, static_argnums=0)
def _prior_samples(model: Model, params: PyTree, like: Examples, key: PRNGKey):
    """2000 samples of the prior, or one for each context where the model is conditional."""
    num_samples = 2000 if like.context is None else len(like.x)
    return model.at(params).sample_latents(key, num_samples, like.context)


@partial(jax.jit, static_argnums=(0, 1))
def _log_density(model: Model, level: int, params: PyTree, grid: Array, key: PRNGKey) -> Array:
    return model.at(params).level_log_prior(grid, level, key)
