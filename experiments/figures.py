"""The pictures a run leaves in its workdir."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from experiments.run import Run
from experiments.workdir import write_figure
from vaelab import plotting
from vaelab.models import VAE
from vaelab.training.metrics import read_metrics
from vaelab.training.state import TrainState
from vaelab.types import Array, Examples, Model, PRNGKey, PyTree


def save(run: Run, state: TrainState, workdir: epath.Path) -> None:
    """Writes training.png and, for a flat model, latent_space.png; of data that can be looked at,
    reconstructions.png and samples.png."""
    params = run.chosen(state).variables.params
    model, test = run.experiment.model, run.splits.test
    shown = test.take(slice(20))
    means = np.asarray(reconstructions(model, params, shown, run.key("reconstructions")))
    made = np.asarray(samples(model, params, test.take(slice(64)), run.key("samples")))
    figures = {"training": _training(run, workdir)}
    inputs, outputs, sampled = (run.show(x) for x in (shown.x, means, made))
    if inputs is not None and outputs is not None and sampled is not None:
        figures["reconstructions"] = plotting.reconstructions(inputs, outputs)
        figures["samples"] = plotting.samples(sampled)
    if isinstance(model, VAE) and model.prior.latent_dim > 1:
        figures["latent_space"] = _latent_space(run, params)
    for name, figure in figures.items():
        write_figure(workdir / f"{name}.png", figure)


@partial(jax.jit, static_argnums=0)
def reconstructions(model: Model, params: PyTree, examples: Examples, key: PRNGKey) -> Array:
    """The likelihood's mean at one posterior sample of each example, [N, *event]."""
    variables = {"params": params}
    terms = model.apply(variables, examples.x, key, context=examples.context)
    return terms.likelihood.mean()[0]


@partial(jax.jit, static_argnums=0)
def samples(model: Model, params: PyTree, like: Examples, key: PRNGKey) -> Array:
    """The likelihood's mean at as many samples of the prior, given their contexts where there are any."""
    variables, context = {"params": params}, like.context
    z = model.apply(variables, key, len(like.x), context, method="sample_latents")
    return model.apply(variables, z, context, method="decode").mean()


def _training(run: Run, workdir: epath.Path):
    x = run.splits.train.x
    thresholds = {
        name: constraint.kappa * constraint.scale(x.shape[1:])
        for name, constraint in run.experiment.objective.constraints.items()
        if constraint.in_nats
    }
    return plotting.training_curves(read_metrics(workdir), thresholds=thresholds)


def _latent_space(run: Run, params: PyTree):
    model, variables = run.experiment.model, {"params": params}
    sample_key, prior_key, density_key = jax.random.split(run.key("latents"), 3)
    test = run.splits.test
    x = jnp.asarray(test.x[:2000])
    z = np.asarray(jax.jit(lambda v: model.apply(v, x, sample_key).latents[0][0])(variables))
    labels = None if test.labels is None or test.labels.ndim > 1 else test.labels[: len(x)]

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
