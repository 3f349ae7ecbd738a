"""What `experiments.priors` trains: the toy's models, each with several seeds in one program."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaelab import data
from vaelab.checks import check_positive
from vaelab.likelihoods import CategoricalDecoder
from vaelab.models import VAE
from vaelab.networks import MLP, ConditionalGaussian
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
from vaelab.runs import display
from vaelab.training import population
from vaelab.training.groups import transformation
from vaelab.training.loop import NonFiniteLossError
from vaelab.training.objectives import ELBO
from vaelab.training.optimisers import Adam
from vaelab.training.sharding import make_mesh, replicate
from vaelab.training.sources import in_memory
from vaelab.training.state import Best, TrainState
from vaelab.types import Array, PyTree, Splits

SHAPE, NUM_LEVELS, COMPONENTS, GRID_SIZE = (8, 8, 1), 17, 16, 4

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
        check_positive(**dataclasses.asdict(self))


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
    source = replicate(in_memory(splits.train.x, batch_size=setup.batch_size), mesh)
    tx = transformation(
        Adam(setup.learning_rate), None, parameter_groups=model.parameter_groups,
        num_steps=setup.num_steps, scales={}, prior_period=prior_period,
    )  # fmt: skip
    keys = jax.vmap(jax.random.key)(jnp.arange(setup.seeds))
    members = lambda _: population.Setup(model, objective, tx)  # noqa: E731
    state = replicate(population.initial_states(members, {}, source.examples, keys), mesh)
    run_steps = population.compile_sweep_steps(
        members,
        preprocess=data.Digits(binarisation="none").preprocess,
        mesh=mesh,
    )
    validation, key = jnp.asarray(splits.validation.x), jax.random.key(setup.seeds)
    history, step, last_better = [(0, _copy(state, 0))], 0, 0
    with display.TrainingProgress(setup.num_steps, 0) as progress:
        while step < min(setup.num_steps, last_better + setup.patience * setup.evaluate_every):
            size = min(setup.evaluate_every, setup.num_steps - step)
            state, metrics = run_steps(state, {}, source, num_steps=size)
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
    elbo = lambda params: jnp.mean(model.at(params)(x, key, 8).log_weights)  # noqa: E731
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
    return population.member(jax.device_get(state.variables.params), index)
