"""Speed and memory: `python -m experiments.benchmark [--peer-python P --peer-script S]`.

Prints a table and writes benchmark.json. Everything that is compared is measured in turn, round by
round, and compared within each round, so that a machine whose speed drifts does no harm. Figures
are of the machine they are measured on; run it while nothing else runs.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table
from scipy import stats

from experiments import benchmark_sweep
from vaelab import data, evaluation
from vaelab.constraints import NLL
from vaelab.evaluation import likelihood
from vaelab.models import VAE
from vaelab.networks import MLP, BernoulliDecoder, ConditionalGaussian
from vaelab.priors import (
    GTM,
    FlowPrior,
    GaussianMixture,
    HierarchicalPrior,
    Prior,
    StandardNormal,
    VampPrior,
)
from vaelab.training.objectives import ELBO, Lagrangian, Objective
from vaelab.training.optimisers import Adam, Geco, Rewo, transformation
from vaelab.training.sharding import make_mesh, replicate
from vaelab.training.state import initial_state
from vaelab.training.step import compile_train_steps
from vaelab.types import Examples

SHAPE, HIDDEN, LATENT_DIM, BATCH_SIZE = (28, 28, 1), (300, 300), 40, 100
NUM_SAMPLES = 5000  # of the log-likelihood
NUM_COMPONENTS, GRID_SIZE = 500, 22  # of mixtures and VampPriors; 22² = 484


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Measures training steps and log-likelihoods, beside other libraries' where they are given."""

    peer_python: str | None = None
    """interpreter of an environment with PyTorch and Pythae 0.1.2"""
    peer_script: str | None = None
    """pythae_bench.py, which measures Pythae"""
    rounds: int = 5
    """how often everything is measured in turn"""
    steps: int = 400
    """training steps in a timed block"""
    num_test: int = 100
    """test points of the log-likelihood"""
    output: str = "benchmark.json"
    """file for the figures"""


Rate = Callable[[], float]  # measures once, units per second


def main(arguments: Arguments) -> None:
    rates: dict[str, Rate] = {
        "VAE": training(StandardNormal(LATENT_DIM), ELBO(), None, arguments.steps),
        "VAE's matrix products": matrix_products(vae_layers(), arguments.steps),
        "mixture": training(
            GaussianMixture(LATENT_DIM, NUM_COMPONENTS), ELBO(), None, arguments.steps
        ),
        "GTM": training(GTM(LATENT_DIM, grid_size=GRID_SIZE), ELBO(), None, arguments.steps),
        "flow": training(FlowPrior(LATENT_DIM), ELBO(), None, arguments.steps),
        "VAMP": training(
            VampPrior(LATENT_DIM, shape=SHAPE, num_components=NUM_COMPONENTS),
            ELBO(),
            None,
            arguments.steps,
        ),
        "VAMP's matrix products": matrix_products(vamp_layers(), arguments.steps),
        "VHP": training(HierarchicalPrior(LATENT_DIM), ELBO(), None, arguments.steps),
        "VHP + REWO": training(
            HierarchicalPrior(LATENT_DIM),
            Lagrangian({"nll": NLL(0.085)}),
            Rewo(),
            arguments.steps,
        ),
        "log p(x)": log_likelihood(arguments.num_test),
    }
    rates |= benchmark_sweep.rates(max(1, arguments.steps // 8))
    if arguments.peer_python and arguments.peer_script:
        rates |= peers(arguments.peer_python, arguments.peer_script)
    else:
        print("Pythae and PyTorch are left out: give --peer-python and --peer-script.")
    measured: dict[str, list[float]] = {name: [] for name in rates}
    for number in range(arguments.rounds):
        for name, rate in rates.items():
            measured[name].append(rate())
            print(f"round {number + 1}: {name} {measured[name][-1]:.1f}/s", file=sys.stderr)
    rows = [row(name, values) for name, values in measured.items()]
    rows += comparisons({name: np.array(values) for name, values in measured.items()})
    rows += memory()
    show(rows)
    Path(arguments.output).write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1))


def model_of(prior: Prior) -> VAE:
    return VAE(
        encoder=ConditionalGaussian(MLP(HIDDEN, event_ndims=3), dim=LATENT_DIM),
        decoder=BernoulliDecoder(MLP(HIDDEN), shape=SHAPE),
        prior=prior,
    )


def images(num: int) -> jax.Array:
    """Grey images of about MNIST's mean, so that the time does not depend on any file."""
    return 0.26 * jax.random.uniform(jax.random.key(0), (num, *SHAPE))


def training(prior: Prior, objective: Objective, dual: Geco | Rewo | None, steps: int) -> Rate:
    """Steps per second, dynamic binarisation included, warm."""
    scales = {name: c.scale(SHAPE) for name, c in objective.constraints.items()}
    tx = transformation(Adam(1e-3), dual, scales=scales)
    model, mesh = model_of(prior), make_mesh()
    x = replicate(images(10_000), mesh)
    state = initial_state(model, objective, tx, x, jax.random.key(0), initial_multiplier=1.0)
    state = replicate(state, mesh)
    run = compile_train_steps(
        batch_size=BATCH_SIZE, model=model, objective=objective, tx=tx,
        preprocess=data.bernoulli, mesh=mesh,
    )  # fmt: skip
    state, _ = jax.block_until_ready(run(state, x, num_steps=steps))

    def rate() -> float:
        nonlocal state
        start = time.perf_counter()
        state, _ = jax.block_until_ready(run(state, x, num_steps=steps))
        return steps / (time.perf_counter() - start)

    return rate


class Layer(NamedTuple):
    """The products of one linear layer: forward, weights' gradient, and the input's where wanted."""

    batch: int
    inputs: int
    outputs: int
    input_gradient: bool = True


def encoder_layers(batch: int, *, input_gradient: bool) -> list[Layer]:
    width, pixels = HIDDEN[0], math.prod(SHAPE)
    first = Layer(batch, pixels, width, input_gradient)
    return [first, Layer(batch, width, width), Layer(batch, width, 2 * LATENT_DIM)]


def vae_layers() -> list[Layer]:
    width, pixels = HIDDEN[0], math.prod(SHAPE)
    decoder = [(LATENT_DIM, width), (width, width), (width, pixels)]
    encoder = encoder_layers(BATCH_SIZE, input_gradient=False)
    return encoder + [Layer(BATCH_SIZE, *dims) for dims in decoder]


def vamp_layers() -> list[Layer]:
    """The VAE's, its encoder's on the pseudo-inputs, and two between latents and components."""
    components = 2 * [Layer(BATCH_SIZE, LATENT_DIM, NUM_COMPONENTS)]
    return vae_layers() + encoder_layers(NUM_COMPONENTS, input_gradient=True) + components


def matrix_products(layers: list[Layer], steps: int) -> Rate:
    """The products of one training step, forward and backward, and nothing else."""
    draw = lambda number, *shape: jax.random.normal(jax.random.key(number), shape)  # noqa: E731
    weights = [draw(i, layer.inputs, layer.outputs) for i, layer in enumerate(layers)]
    inputs = [draw(i, layer.batch, layer.inputs) for i, layer in enumerate(layers)]
    outputs = [draw(i, layer.batch, layer.outputs) for i, layer in enumerate(layers)]

    def step(scale, _):
        # Each product depends on the last step, so that none is hoisted out of the loop.
        products = []
        for layer, w, x, g in zip(layers, weights, inputs, outputs, strict=True):
            products += [(x * scale) @ w, (x * scale).T @ g]
            if layer.input_gradient:
                products.append((g * scale) @ w.T)
        products = jax.lax.optimization_barrier(products)
        return 1 + 1e-9 * sum(p[0, 0] for p in products), None

    run = jax.jit(lambda scale: jax.lax.scan(step, scale, None, length=steps)[0])
    run(jnp.float32(1)).block_until_ready()

    def rate() -> float:
        start = time.perf_counter()
        run(jnp.float32(1)).block_until_ready()
        return steps / (time.perf_counter() - start)

    return rate


def log_likelihood(num_test: int) -> Rate:
    """Test points per second at K = 5000, warm."""
    model = model_of(StandardNormal(LATENT_DIM))
    x = jnp.round(images(num_test) * 2)
    params = model.init(jax.random.key(0), x[:1], jax.random.key(1))["params"]

    def estimate():
        return evaluation.log_likelihood(
            model, params, x, jax.random.key(2), num_samples=NUM_SAMPLES
        )

    estimate()

    def rate() -> float:
        start = time.perf_counter()
        estimate()
        return num_test / (time.perf_counter() - start)

    return rate


def peers(python: str, script: str) -> dict[str, Rate]:
    """Pythae by its own benchmark, and eager PyTorch by ours, in another interpreter."""

    def run(*command: str) -> dict[str, Any]:
        output = subprocess.run([python, *command], capture_output=True, text=True, check=False)
        if output.returncode:
            raise SystemExit(f"error: {python} {command[0]} failed: {output.stderr.strip()[-300:]}")
        return json.loads(output.stdout.strip().splitlines()[-1])

    def pythae(model: str, mode: str) -> Rate:
        options = ("--models", model, "--mode", mode, "--repeats", "3", "--nll_points", "20")
        return lambda: run(script, *options)["median"]

    eager = str(Path(__file__).with_name("benchmark_torch.py"))
    return {
        "Pythae VAE, bare loop": pythae("VAE", "loop"),
        "Pythae VAMP, bare loop": pythae("VAMP", "loop"),
        "Pythae VAE, get_nll": pythae("VAE", "nll"),
        "PyTorch VAE, eager": lambda: run(eager)["median"],
    }


def row(name: str, values: list[float]) -> dict[str, Any]:
    unit = "points/s" if "log p" in name or "nll" in name else "steps/s"
    return {
        "name": name, "unit": unit, "median": float(np.median(values)),
        "low": min(values), "high": max(values), "values": values,
    }  # fmt: skip


def comparisons(rates: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """Ratios within a round, with the goal each is held against."""
    wanted = [
        ("VAE / Pythae's bare loop", "VAE", "Pythae VAE, bare loop", "at least 2.0"),
        ("VAE / eager PyTorch", "VAE", "PyTorch VAE, eager", "at least 3.0"),
        ("matrix products' share of a VAE step", "VAE", "VAE's matrix products", ""),
        ("time of mixture / standard prior", "VAE", "mixture", "at most 1.5"),
        ("time of GTM / standard prior", "VAE", "GTM", "at most 1.5"),
        ("time of flow / standard prior", "VAE", "flow", "at most 2.0"),
        ("time of VAMP / its matrix products", "VAMP's matrix products", "VAMP", "at most 1.25"),
        ("VAMP / Pythae's bare loop", "VAMP", "Pythae VAMP, bare loop", "at least 4.0"),
        ("time of VHP + REWO / VHP", "VHP", "VHP + REWO", "interval reaches below 1.05"),
        ("log p(x) / Pythae's get_nll", "log p(x)", "Pythae VAE, get_nll", "at least 6.0"),
    ]
    rows = []
    for name, ours, theirs, goal in wanted + benchmark_sweep.comparisons():
        if theirs not in rates:
            continue
        ratios = rates[ours] / rates[theirs]
        mean, error = float(np.mean(ratios)), float(stats.sem(ratios)) if len(ratios) > 1 else 0.0
        half = float(stats.t.ppf(0.975, max(len(ratios) - 1, 1))) * error
        rows.append({
            "name": name, "unit": "ratio", "median": float(np.median(ratios)),
            "low": mean - half, "high": mean + half, "goal": goal,
        })  # fmt: skip
    return rows


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


def machine() -> dict[str, Any]:
    return {
        "device": jax.devices()[0].device_kind, "cpus": os.cpu_count(), "jax": jax.__version__,
        "python": platform.python_version(), "load": [round(v, 2) for v in os.getloadavg()],
    }  # fmt: skip


def show(rows: list[dict[str, Any]]) -> None:
    table = Table(title=f"MLP 784-300-300-40, batch {BATCH_SIZE}, {machine()}")
    for column in ("", "median", "low", "high", "unit", "goal"):
        table.add_column(column, justify="right" if column in ("median", "low", "high") else "left")
    for r in rows:
        numbers = [f"{r[key]:.2f}" for key in ("median", "low", "high")]
        table.add_row(r["name"], *numbers, r["unit"], r.get("goal", ""))
    Console(width=120).print(table)
    print(
        "Rates: least and most over the rounds. Ratios: 95 % interval of the mean over the rounds."
    )


if __name__ == "__main__":
    main(tyro.cli(Arguments, prog="python -m experiments.benchmark"))
