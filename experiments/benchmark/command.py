"""Speed and memory: `python -m experiments.benchmark [--peer-python P --peer-script S]`.

Prints a table and writes benchmark.json. Everything that is compared is measured in turn, round by
round, and compared within each round, so that a machine whose speed drifts does no harm. Figures
are of the machine they are measured on; run it while nothing else runs.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table
from scipy import stats

from experiments.benchmark import sweep
from experiments.benchmark.ours import (
    BATCH_SIZE,
    LATENT_DIM,
    SHAPE,
    Rate,
    images,
    log_likelihood,
    memory,
    model_of,
    training,
)
from experiments.benchmark.peers import peers
from experiments.benchmark.products import matrix_products, vae_layers, vamp_layers
from vaelab.constraints import NLL
from vaelab.priors import (
    GTM,
    FlowPrior,
    GaussianMixture,
    HierarchicalPrior,
    StandardNormal,
    VampPrior,
)
from vaelab.training.duals import Rewo
from vaelab.training.objectives import ELBO, Lagrangian

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
    """file for the numbers"""


def main(argv: Sequence[str]) -> None:
    arguments = tyro.cli(Arguments, prog="python -m experiments.benchmark", args=argv)
    rates = our_rates(arguments.steps) | {"log p(x)": log_likelihood(arguments.num_test)}
    rates |= sweep.rates(max(1, arguments.steps // 8))
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


def our_rates(steps: int) -> dict[str, Rate]:
    """Training steps under each prior, and what their matrix products alone would allow."""
    priors = {
        "VAE": StandardNormal(LATENT_DIM),
        "mixture": GaussianMixture(LATENT_DIM, NUM_COMPONENTS),
        "GTM": GTM(LATENT_DIM, grid_size=GRID_SIZE),
        "flow": FlowPrior(LATENT_DIM),
        "VAMP": VampPrior(LATENT_DIM, shape=SHAPE, num_components=NUM_COMPONENTS),
    }
    vhp = model_of(HierarchicalPrior(LATENT_DIM))
    constrained = Lagrangian({"nll": NLL(0.085)})
    x = images(10_000)
    return {  # what is compared stands side by side
        "VAE's matrix products": matrix_products(vae_layers(), steps),
        **{
            name: training(model_of(prior), ELBO(), None, x, steps)
            for name, prior in priors.items()
        },
        "VAMP's matrix products": matrix_products(vamp_layers(NUM_COMPONENTS), steps),
        "VHP": training(vhp, ELBO(), None, x, steps),
        "VHP + REWO": training(vhp, constrained, Rewo(), x, steps),
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
    for name, ours, theirs, goal in wanted + sweep.comparisons():
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
