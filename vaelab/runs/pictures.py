"""The plots of a run, and of a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import jax
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vaelab import plotting
from vaelab.checks import UndefinedError
from vaelab.data import LabelMeaning
from vaelab.data.show import Shown
from vaelab.models import Model
from vaelab.models.base import check_level_exists
from vaelab.one_off import one_off
from vaelab.plotting import PlaneSeries
from vaelab.runs.history import History
from vaelab.runs.measures import Measures
from vaelab.runs.result import Result
from vaelab.runs.run import Run
from vaelab.runs.trained import Trained
from vaelab.types import Array, Examples, PRNGKey, PyTree

_NUM_RECONSTRUCTIONS, _NUM_SAMPLES, _NUM_CODES = 20, 64, 2000


def training_curves(run: Run, history: History, axes: Sequence[Axes] | None = None) -> Figure:
    """ELBO, rate and distortion, constraints and multipliers over the steps."""
    thresholds = {
        name: constraint.kappa * constraint.divisor(run.event_shape)
        for name, constraint in run.experiment.objective.constraints.items()
        if constraint.in_nats
    }
    return plotting.training_curves(history.rows, thresholds=thresholds, axes=axes)


def reconstructions(run: Run, trained: Trained, ax: Axes | None = None) -> Figure:
    """Test examples above their reconstructions, the likelihood's mean.

    Raises:
      UndefinedError: the data cannot be shown as images.
    """
    shown = run.splits.test.take(slice(_NUM_RECONSTRUCTIONS))
    means = reconstruct(run.experiment.model, trained.params, shown, run.key("reconstructions"))
    inputs, outputs = images(run, shown.x), images(run, means)
    note = " ".join(dict.fromkeys(filter(None, (inputs.note, outputs.note))))
    return plotting.reconstructions(inputs.images, outputs.images, note=note, ax=ax)


def samples(run: Run, trained: Trained, ax: Axes | None = None) -> Figure:
    """The likelihood's mean at samples of the prior.

    Raises:
      UndefinedError: the data cannot be shown as images.
    """
    like = run.splits.test.take(slice(_NUM_SAMPLES))
    made = generate(run.experiment.model, trained.params, like, run.key("samples"))
    shown = images(run, made)
    return plotting.samples(shown.images, note=shown.note, ax=ax)


def latent_space(run: Run, trained: Trained, level: int = 0, ax: Axes | None = None) -> Figure:
    """Posterior samples of test examples and the prior: its density in two dimensions, else samples.

    Raises:
      UsageError: there is no such level.
      UndefinedError: the level has one latent coordinate.
    """
    model, params = run.experiment.model, trained.params
    check_level_exists(model, level)
    if model.latent_dims[level] < 2:
        raise UndefinedError(f"level {level} has one latent coordinate: a plot needs two.")
    shown_level = level if model.depth > 1 else None
    key, test = run.key("latents"), run.splits.test.take(slice(_NUM_CODES))
    z = np.asarray(_posterior_samples(model, params, test, key)[level])
    prior = np.asarray(_prior_samples(model, params, test, key)[level])
    labels = None if test.labels is None or test.labels.ndim > 1 else test.labels
    # Labels that were handed over need not be those of the data set.
    meaning = LabelMeaning() if run.splits_given else run.experiment.data.label_meaning
    draw = partial(
        plotting.latent_space, z, labels, names=meaning.names, label=meaning.name,
        period=meaning.period, level=shown_level, ax=ax,
    )  # fmt: skip
    if model.latent_dims[level] > 2 or level in model.bernoulli_levels:
        return draw(prior_samples=prior)
    shown = np.concatenate([z, prior])
    low, high = shown.min(axis=0), shown.max(axis=0)
    low, high = low - 0.1 * (high - low), high + 0.1 * (high - low)
    grid = np.stack(np.meshgrid(*np.linspace(low, high, 120).T), axis=-1)
    precise = model.with_prior_samples(run.experiment.prior_samples)
    try:
        log_density = np.asarray(_log_density(precise, level, params, grid, key))
    except UndefinedError:
        return draw(prior_samples=prior)
    return draw(log_density=log_density, extent=(low[0], high[0], low[1], high[1]))


def information_plane(sweeps: Mapping[str, Sequence[Measures]]) -> Figure:
    """Rate against distortion of sweeps by name; of data with levels the NLL at the best scale."""
    quantised = all(any(row.nll_per_dim for row in rows) for rows in sweeps.values())
    label = (
        "negative log-likelihood at σ* (nats per dimension)" if quantised else "distortion (nats)"
    )
    series = [plane_series(name, rows, quantised=quantised) for name, rows in sweeps.items()]
    return plotting.information_plane(series, distortion_label=label)


def plane_series(name: str, rows: Sequence[Measures], *, quantised: bool) -> PlaneSeries:
    """The members of one sweep, the seeds of one setting together, settings in the order of the rows."""
    settings: dict[str, list[Measures]] = {}
    for row in rows:
        settings.setdefault(_tag(row), []).append(row)
    seeds = max(map(len, settings.values()))
    points = np.full((2, len(settings), seeds), np.nan)
    for index, group in enumerate(settings.values()):
        for seed, row in enumerate(group):
            distortion = row.nll_per_dim if quantised else row.distortion
            points[:, index, seed] = (distortion or row.distortion).mean, row.rate.mean
    return PlaneSeries(
        label=name,
        distortion=points[0],
        rate=points[1],
        tags=list(settings),
        connect=any(tag.startswith("κ") for tag in settings),
    )


def _tag(row: Measures) -> str:
    symbols = {"kappa": "κ", "beta": "β", "learning_rate": "lr"}
    named = {path.rpartition(".")[2]: value for path, value in row.values.items()}
    return ", ".join(f"{symbols.get(n, n)} {v:g}" for n, v in named.items() if n != "seed")


def trajectory(result: Result, constraint: str) -> Figure:
    """The course of one constrained run in the information plane."""
    bound, shape = result.run.experiment.objective.constraints[constraint], result.run.event_shape
    return plotting.saddle_trajectory(
        result.history.rows,
        kappa=bound.kappa,
        constraint=constraint,
        num_dims=int(np.prod(shape)),
        achieved=lambda average: bound.achieved(average, shape),
        quantity=bound.quantity,
    )


def images(run: Run, x: Array | np.ndarray) -> Shown:
    """x as images [N, height, width, 1 or 3] in [0, 1], and what was done to their values.

    Raises:
      UndefinedError: the data cannot be shown as images.
    """
    shown = run.show(x)
    if shown is None:
        raise UndefinedError(
            f"examples of shape {run.event_shape} are no images: use encode, reconstruct or sample, and "
            "plot their arrays."
        )
    return shown


@partial(one_off, static_argnums=0)
def reconstruct(model: Model, params: PyTree, examples: Examples, key: PRNGKey) -> Array:
    """The likelihood's mean at one posterior sample of each example, [N, *event]."""
    terms = model.at(params)(examples.x, key, context=examples.context)
    return terms.likelihood.mean()[0]


@partial(one_off, static_argnums=0)
def generate(model: Model, params: PyTree, like: Examples, key: PRNGKey) -> Array:
    """The likelihood's mean at one sample of the prior for each example, given its context."""
    latents = model.at(params).sample_latents(key, len(like.x), like.context)
    return model.at(params).decode(latents, like.context).mean()


@partial(one_off, static_argnums=0)
def _posterior_samples(model: Model, params: PyTree, examples: Examples, key: PRNGKey):
    """One z ~ q(z|x) of each example, at every level."""
    sample_key, _, _ = jax.random.split(key, 3)
    terms = model.at(params)(examples.x, sample_key, context=examples.context)
    return tuple(z[0] for z in terms.latents)


@partial(one_off, static_argnums=0)
def _prior_samples(model: Model, params: PyTree, like: Examples, key: PRNGKey):
    """2000 samples of the prior, or one for each context of a conditional model."""
    _, prior_key, _ = jax.random.split(key, 3)
    num_samples = _NUM_CODES if like.context is None else len(like.x)
    return model.at(params).sample_latents(prior_key, num_samples, like.context)


@partial(one_off, static_argnums=(0, 1))
def _log_density(model: Model, level: int, params: PyTree, grid: Array, key: PRNGKey) -> Array:
    _, _, density_key = jax.random.split(key, 3)
    return model.at(params).level_log_prior(grid, level, density_key)
