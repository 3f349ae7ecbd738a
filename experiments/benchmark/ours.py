"""What vaelab does in a second: training steps and log-likelihoods of one small VAE."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from vaelab import data, evaluation
from vaelab.evaluation import likelihood
from vaelab.likelihoods import BernoulliDecoder
from vaelab.models import VAE
from vaelab.networks import MLP, ConditionalGaussian
from vaelab.priors import Prior, StandardNormal
from vaelab.training.duals import Dual
from vaelab.training.groups import transformation
from vaelab.training.objectives import Objective
from vaelab.training.optimisers import Adam
from vaelab.training.sharding import make_mesh, replicate
from vaelab.training.sources import in_memory
from vaelab.training.state import TrainState, initial_state
from vaelab.training.step import compile_train_steps
from vaelab.types import Array, Examples

SHAPE, HIDDEN, LATENT_DIM, BATCH_SIZE = (28, 28, 1), (300, 300), 40, 100
NUM_SAMPLES = 5000  # of the log-likelihood

Rate = Callable[[], float]  # measures once, units per second


def model_of(prior: Prior, shape: tuple[int, ...] = SHAPE, hidden: tuple[int, ...] = HIDDEN) -> VAE:
    return VAE(
        encoder=ConditionalGaussian(MLP(hidden, event_ndims=3), dim=prior.latent_dim),
        decoder=BernoulliDecoder(MLP(hidden), shape=shape),
        prior=prior,
    )


def images(num: int, shape: tuple[int, ...] = SHAPE) -> Array:
    """Grey images of about MNIST's mean, so that the time does not depend on any file."""
    return 0.26 * jax.random.uniform(jax.random.key(0), (num, *shape))


def training(model: VAE, objective: Objective, dual: Dual | None, x: Array, steps: int) -> Rate:
    """Steps per second, dynamic binarisation included, warm."""
    scales = {name: c.divisor(x.shape[1:]) for name, c in objective.constraints.items()}
    mesh = make_mesh()
    tx = transformation(
        Adam(1e-3), dual, parameter_groups=model.parameter_groups, num_steps=steps, scales=scales
    )
    state = initial_state(model, objective, tx, x, jax.random.key(0), initial_multiplier=1.0)
    run = compile_train_steps(
        model=model, objective=objective, tx=tx,
        preprocess=data.bernoulli, mesh=mesh,
    )  # fmt: skip
    source = replicate(in_memory(x, batch_size=BATCH_SIZE), mesh)
    return timed(lambda state: run(state, source, num_steps=steps), replicate(state, mesh), steps)


def timed(run: Callable[[TrainState], tuple[TrainState, Any]], state: TrainState, num: int) -> Rate:
    """`num` per second of a run that goes on from its own state, warm."""
    state, _ = jax.block_until_ready(run(state))

    def rate() -> float:
        nonlocal state
        start = time.perf_counter()
        state, _ = jax.block_until_ready(run(state))
        return num / (time.perf_counter() - start)

    return rate


def log_likelihood(num_test: int) -> Rate:
    """Test points per second at K = 5000, warm."""
    model = model_of(StandardNormal(LATENT_DIM))
    x = jnp.round(images(num_test) * 2)
    params = model.init(jax.random.key(0), x[:1], jax.random.key(1))["params"]

    def estimate():
        subject = evaluation.Subject(model, params, x)
        return evaluation.log_likelihood(subject, jax.random.key(2), num_samples=NUM_SAMPLES)

    estimate()

    def rate() -> float:
        start = time.perf_counter()
        estimate()
        return num_test / (time.perf_counter() - start)

    return rate


def memory() -> list[dict[str, Any]]:
    """Scratch memory of the log-likelihood's program, which no number of samples changes."""
    model = model_of(StandardNormal(LATENT_DIM))
    x = images(50)
    params = model.init(jax.random.key(0), x[:1], jax.random.key(1))["params"]
    rows = []
    for num_samples in (1000, 100_000):
        program = likelihood.batch_estimate.lower(
            model, num_samples, 100, params, Examples(x), jax.random.key(0)
        ).compile()
        analysis = program.memory_analysis()
        size = analysis.temp_size_in_bytes / 2**20 if analysis else float("nan")
        name = f"scratch memory of log p(x), K = {num_samples}"
        rows.append({"name": name, "unit": "MiB", "median": size, "low": size, "high": size})
    return rows
