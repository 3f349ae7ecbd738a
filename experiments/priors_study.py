"""What `experiments.priors` does with one prior: trains it with several seeds, and measures it."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import display
from vaelab import data, evaluation
from vaelab.evaluation.batches import map_batches
from vaelab.models import VAE
from vaelab.networks import MLP, CategoricalDecoder, ConditionalGaussian
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
from vaelab.training import sweep
from vaelab.training.loop import NonFiniteLossError
from vaelab.training.objectives import ELBO
from vaelab.training.optimisers import Adam, build
from vaelab.training.sharding import make_mesh, replicate
from vaelab.training.state import Best, TrainState
from vaelab.types import Array, PyTree, Splits

SHAPE, NUM_LEVELS, COMPONENTS, GRID_SIZE = (8, 8, 1), 17, 16, 4
INNER_SAMPLES = (1, 4, 16, 64)
_PRIOR_SAMPLES = 32  # inner samples of the priors that sample, where they are measured
_POSTERIOR_SAMPLES = 16  # of test images, for ELBO and rate
_NUM_POINTS = 2000  # samples of prior and aggregated posterior
_PIXELS = 120  # of a picture's side

# Each takes the encoder, which a VampPrior shares with the model.
PRIORS: dict[str, Prior] = {
    "standard": StandardNormal(2),
    "mixture": GaussianMixture(2, COMPONENTS),
    "vamp": VampPrior(2, SHAPE, num_components=COMPONENTS, from_data=True),
    "gtm": GTM(2, grid_size=GRID_SIZE),
    "gtm_vamp": GTMVampPrior(2, SHAPE, grid_size=GRID_SIZE),
    "flow": FlowPrior(2),
    "hierarchical": HierarchicalPrior(2, hidden=(64, 64)),
    "autoregressive": AutoregressivePrior(2, hidden=(64,)),
    "resampled": ResampledPrior(2, max_tries=16),
}


@dataclasses.dataclass(frozen=True)
class Setup:
    """What all priors share."""

    seeds: int = 3
    """runs of each prior, side by side in one program"""
    num_steps: int = 2000
    """training steps at most; a prior's runs end when validation has improved for none of them"""
    evaluate_every: int = 50
    """steps between validations; each seed keeps the parameters of its best one"""
    patience: int = 6
    """validations without a better ELBO for any seed after which the runs end"""
    hidden: int = 256
    """width of the two layers of encoder and decoder"""
    learning_rate: float = 1e-3
    """of Adam"""
    batch_size: int = 100
    """images per step"""
    num_samples: int = 500
    """importance samples per test image"""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not value > 0:
                raise ValueError(f"{field.name} must be positive, got {value}.")


class Trained(NamedTuple):
    """The best validated parameters of every seed, and how the first seed came there."""

    model: VAE
    params: PyTree  # leaves [seeds, ...]
    steps: np.ndarray  # [seeds], of the best validation
    history: list[tuple[int, PyTree]]  # (step, parameters) of the first seed, to its best


def load() -> Splits:
    """scikit-learn's digits, grey."""
    return data.Digits(binarisation="none").load()


def build_model(name: str, hidden: int) -> VAE:
    """The VAE with the prior of that name."""
    encoder = ConditionalGaussian(MLP((hidden, hidden), event_ndims=3), dim=2)
    decoder = CategoricalDecoder(MLP((hidden, hidden)), shape=SHAPE, levels=NUM_LEVELS)
    return VAE(encoder=encoder, decoder=decoder, prior=PRIORS[name])


def train(model: VAE, setup: Setup, splits: Splits, *, prior_period: int = 1) -> Trained:
    """Trains all seeds in one program; the prior is updated once in `prior_period` steps."""
    mesh, objective = make_mesh(devices=jax.devices()[:1]), ELBO()
    x = replicate(splits.train.x, mesh)
    tx = build(Adam(setup.learning_rate), None, scales={}, prior_period=prior_period)
    keys = jax.vmap(jax.random.key)(jnp.arange(setup.seeds))
    state = replicate(sweep.initial_states(model, objective, tx, x, keys), mesh)
    run_steps = sweep.compile_sweep_steps(
        batch_size=setup.batch_size,
        model=model,
        objective=objective,
        tx=tx,
        preprocess=data.Digits(binarisation="none").preprocess,
        mesh=mesh,
    )
    validation, key = jnp.asarray(splits.validation.x), jax.random.key(setup.seeds)
    history, step, last_better = [(0, _copy(state, 0))], 0, 0
    with display.TrainingProgress(setup.num_steps, 0) as progress:
        while step < min(setup.num_steps, last_better + setup.patience * setup.evaluate_every):
            size = min(setup.evaluate_every, setup.num_steps - step)
            state, metrics = run_steps(state, x, num_steps=size)
            state = _keep_best(state, _validate(model, state.variables.params, validation, key))
            step += size
            row = {name: float(np.mean(values)) for name, values in metrics.items()}
            if not np.isfinite(row["loss"]):
                raise NonFiniteLossError(step, row)
            history.append((step, _copy(state, 0)))
            last_better = int(np.max(state.best.step))
            progress.update(step, row)
    best = np.asarray(state.best.step)
    history = [snapshot for snapshot in history if snapshot[0] <= best[0]]
    return Trained(model, jax.device_get(state.best.variables.params), best, history)


@partial(jax.jit, static_argnums=0)
def _validate(model: VAE, params: PyTree, x: Array, key: Array) -> Array:
    """The ELBO of every seed, with the same noise each time. [seeds]."""
    elbo = lambda params: jnp.mean(model.apply({"params": params}, x, key, 8).log_weights)  # noqa: E731
    return jax.vmap(elbo)(params)


@partial(jax.jit, donate_argnums=0)
def _keep_best(state: TrainState, bound: Array) -> TrainState:
    @jax.vmap
    def keep(bound, variables, best):
        candidate = Best(bound, state.step, variables, best.average)
        return jax.tree.map(
            lambda new, old: jnp.where(bound > best.bound, new, old), candidate, best
        )

    return state._replace(best=keep(bound, state.variables, state.best))


def _copy(state: TrainState, index: int) -> PyTree:
    """One seed's parameters on the host: the state itself is donated to the next steps."""
    return sweep.member(jax.device_get(state.variables.params), index)


def likelihood(trained: Trained, setup: Setup, splits: Splits) -> dict[str, list[float]]:
    """nll of the test images by importance sampling, nats, of each seed, and how good it is."""
    rows = []
    for seed in range(setup.seeds):
        params, key = sweep.member(trained.params, seed), jax.random.key(1000 + seed)
        estimate = evaluation.log_likelihood(
            trained.model, params, splits.test.x, key, num_samples=setup.num_samples,
            progress=display.track(f"log p(x), seed {seed}"),
        )  # fmt: skip
        rows.append(
            {
                "nll": -estimate.mean,
                "standard_error": estimate.standard_error,  # over images
                "effective_sample_size": estimate.effective_sample_size,
                "step": int(trained.steps[seed]),
            }
        )
    return _columns(rows)


def terms(trained: Trained, splits: Splits) -> dict[str, list[float]]:
    """elbo, rate, distortion of the test images and marginal_kl, hole_mass of the training images."""
    model, x, rows = _precise(trained.model), splits.train.x, []
    names = {"elbo": evaluation.elbo, "rate": evaluation.rate, "distortion": evaluation.distortion}
    for seed in range(len(trained.steps)):
        params, key = sweep.member(trained.params, seed), jax.random.key(1000 + seed)
        estimates = evaluation.expectations(
            model, params, splits.test.x, key, names,
            num_samples=_POSTERIOR_SAMPLES, batch_size=25,
        )  # fmt: skip
        surgery = evaluation.elbo_surgery(model, params, x, key, num_points=_NUM_POINTS)
        holes = evaluation.holes(model, params, x, key, num_samples=_NUM_POINTS)
        row = {"marginal_kl": surgery.marginal_kl.mean, "hole_mass": holes.hole_mass.mean}
        rows.append({name: estimate.mean for name, estimate in estimates.items()} | row)
    return _columns(rows)


def _precise(model: VAE) -> VAE:
    """The model, its prior, where that samples, estimated more precisely than in training."""
    return model.clone(prior=model.prior.with_num_samples(_PRIOR_SAMPLES))


def _columns(rows: list[dict[str, float]]) -> dict[str, list[float]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def reference(trained: Trained, splits: Splits) -> dict[str, list[float]]:
    """Rate and ELBO of the test images had the model their own aggregated posterior as its prior.

    No prior can beat them with the same encoder and decoder. The rate is I(x; z).
    """
    model, x = trained.model, splits.test.x
    result: dict[str, list[float]] = {"rate": [], "elbo": []}
    for seed in range(len(trained.steps)):
        params, key = sweep.member(trained.params, seed), jax.random.key(1000 + seed)
        surgery = evaluation.elbo_surgery(model, params, x, key, num_points=_NUM_POINTS)
        terms = evaluation.expectations(
            model, params, x, key, {"distortion": evaluation.distortion},
            num_samples=_POSTERIOR_SAMPLES,
        )  # fmt: skip
        rate = surgery.mutual_information.mean
        result["rate"].append(rate)
        result["elbo"].append(-terms["distortion"].mean - rate)
    return result


def picture(model: VAE, params: PyTree, splits: Splits) -> dict[str, Any]:
    """A panel of `plotting.prior_densities`: densities on a grid, and samples of q(z|x) of test data.

    The grid holds the samples and the central 99 % of the prior in each coordinate. Holes are where
    the density of q(z), of the training images, is below its own 1 % quantile.
    """
    key = jax.random.key(0)
    variables, x = {"params": params}, jnp.asarray(splits.test.x)
    posterior, inputs = evaluation.aggregated_posterior(model, params, splits.train.x)

    points, quantiles, one_percent = map(np.asarray, _draw(model, posterior, variables, inputs, x))
    shown = np.concatenate([points, quantiles])
    low, high = shown.min(axis=0), shown.max(axis=0)
    centre, half = (low + high) / 2, 0.55 * np.max(high - low)
    axes = np.linspace(centre - half, centre + half, _PIXELS)
    grid = np.stack(np.meshgrid(*axes.T), axis=-1).reshape(-1, 2)
    log_p, log_q = map_batches(
        partial(_log_densities, _precise(model), posterior, variables, inputs),
        grid,
        key,
        batch_size=600,
    )
    return {
        "points": points,
        "log_prior": log_p.reshape(_PIXELS, _PIXELS),
        "log_aggregated": log_q.reshape(_PIXELS, _PIXELS),
        "hole_level": one_percent,
        "extent": np.stack([centre - half, centre + half], axis=1).ravel(),
    }


@partial(jax.jit, static_argnums=(0, 1))
def _draw(model, posterior, variables, inputs, x) -> tuple[Array, Array, Array]:
    """Two z ~ q(z|x) per image, the prior's 0.5 and 99.5 % quantiles, and the 1 % one of log q(z)."""
    keys = jax.random.split(jax.random.key(0), 3)
    points = model.apply(variables, x, keys[0], 2).latents[0].reshape(-1, 2)
    prior = model.apply(variables, keys[1], _NUM_POINTS, method="sample_latents")
    aggregated = posterior.apply(inputs, keys[2], _NUM_POINTS, method="sample")
    log_q = posterior.apply(inputs, aggregated, method="log_prob")
    edges = jnp.quantile(prior, jnp.array([0.005, 0.995]), axis=0)
    return points, edges, jnp.quantile(log_q, 0.01)


@partial(jax.jit, static_argnums=(0, 1))
def _log_densities(model, posterior, variables, inputs, z, key) -> tuple[Array, Array]:
    """log p and log q on points of the grid, [B, D] -> [B] each."""
    del key
    # One key for all points: an estimate of p is then as smooth a function of z as p itself.
    log_p = lambda z: model.apply(variables, z, jax.random.key(0), method="prior_log_prob")  # noqa: E731
    return jax.vmap(log_p)(z), posterior.apply(inputs, z, method="log_prob")


def rate_by_inner_samples(trained: Trained, splits: Splits) -> dict[str, list[list[float]]]:
    """Test rate of a sampled prior by its inner samples, per seed: mean, and what it falls by.

    `excess` is the rate above that of the most inner samples, `standard_error` its own over images:
    the images are the same, so it is far smaller than those of the two rates. [seeds, len(K)] each.
    """
    result: dict[str, list[list[float]]] = {"rate": [], "excess": [], "standard_error": []}
    for seed in range(len(trained.steps)):
        params = sweep.member(trained.params, seed)
        per_image = []
        for count in INNER_SAMPLES:
            model = trained.model.clone(prior=trained.model.prior.with_num_samples(count))
            rate = partial(_mean_rate, model, params)
            per_image.append(map_batches(rate, splits.test.x, jax.random.key(seed), batch_size=100))
        rates = np.stack(per_image)
        excess = rates - rates[-1]
        errors = np.std(excess, axis=1, ddof=1) / np.sqrt(rates.shape[1])
        for name, values in (
            ("rate", rates.mean(1)), ("excess", excess.mean(1)), ("standard_error", errors)
        ):  # fmt: skip
            result[name].append(values.tolist())
    return result


@partial(jax.jit, static_argnums=0)
def _mean_rate(model: VAE, params: PyTree, x: Array, key: Array) -> Array:
    terms = model.apply({"params": params}, x, key, _POSTERIOR_SAMPLES)
    return jnp.mean(terms.total_rate, axis=0)
