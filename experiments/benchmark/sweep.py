"""Sixteen runs in one vmapped program, and the same runs one after another: rows of the benchmark."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from experiments.benchmark.ours import BATCH_SIZE, Rate, images, model_of, timed, training
from vaelab import data
from vaelab.models import VAE
from vaelab.priors import StandardNormal
from vaelab.training import population
from vaelab.training.groups import transformation
from vaelab.training.objectives import ELBO
from vaelab.training.optimisers import Adam
from vaelab.training.sharding import make_mesh
from vaelab.training.sources import in_memory

NUM_MEMBERS = 16
# A network whose steps are mostly overhead, and one whose products fill the cores by themselves.
SIZES = {"8×8, 16 hidden": ((8, 8, 1), (16,), 2), "28×28, 300-300": ((28, 28, 1), (300, 300), 40)}


def rates(steps: int) -> dict[str, Rate]:
    """Members' steps per second, warm, together and alone, for each size."""
    result: dict[str, Rate] = {}
    for name, (shape, hidden, latent_dim) in SIZES.items():
        model, x = model_of(StandardNormal(latent_dim), shape, hidden), images(2000, shape)
        result[f"{name}, {NUM_MEMBERS} together"] = _together(model, x, steps)
        result[f"{name}, one after another"] = training(model, ELBO(), None, x, steps)
    return result


def comparisons() -> list[tuple[str, str, str, str]]:
    """(name, ours, theirs, goal) of each ratio."""
    return [
        (f"{NUM_MEMBERS} together / one after another, {name}",
         f"{name}, {NUM_MEMBERS} together", f"{name}, one after another", "")
        for name in SIZES
    ]  # fmt: skip


def _together(model: VAE, x: jax.Array, steps: int) -> Rate:
    mesh = make_mesh()
    values: population.Values = {"learning_rate": jnp.full(NUM_MEMBERS, 1e-3)}
    keys = jax.vmap(jax.random.key)(jnp.arange(NUM_MEMBERS))

    def members(values) -> population.Setup:
        return population.Setup(
            model,
            ELBO(),
            transformation(
                Adam(values["learning_rate"]),
                None,
                parameter_groups=model.parameter_groups,
                num_steps=1,
                scales={},
            ),
        )

    state = population.initial_states(members, values, x, keys)
    run = population.compile_sweep_steps(members, preprocess=data.bernoulli, mesh=mesh)
    state, values = population.place(state, values, mesh)
    source = in_memory(x, batch_size=BATCH_SIZE)
    return timed(
        lambda state: run(state, values, source, num_steps=steps), state, steps * NUM_MEMBERS
    )
