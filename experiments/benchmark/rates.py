"""What vaelab and other libraries do in a second: training steps and log-likelihoods of one small VAE."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.study import of_length
from vaelab import data, evaluation
from vaelab.checks import UsageError
from vaelab.constraints import NLL
from vaelab.evaluation import Subject
from vaelab.likelihoods import BernoulliDecoder
from vaelab.models import VAE
from vaelab.networks import MLP, ConditionalGaussian
from vaelab.priors import (
    GTM,
    FlowPrior,
    GaussianMixture,
    HierarchicalPrior,
    Prior,
    StandardNormal,
    VampPrior,
)
from vaelab.runs import Experiment
from vaelab.runs.programs import Members, Program, Single
from vaelab.runs.run import Run
from vaelab.training.duals import Rewo
from vaelab.training.objectives import ELBO, Lagrangian
from vaelab.training.optimisers import Adam
from vaelab.training.sharding import replicate
from vaelab.training.state import TrainState
from vaelab.types import Examples, Splits

NUM_MEMBERS = 16
_SHAPE = (28, 28, 1)

Rate = Callable[[], float]  # measures once, units per second


def _experiment(prior: Prior, hidden: int = 300, shape: tuple[int, ...] = _SHAPE) -> Experiment:
    model = VAE(
        encoder=ConditionalGaussian(MLP((hidden, hidden), event_ndims=3), dim=prior.latent_dim),
        decoder=BernoulliDecoder(MLP((hidden, hidden)), shape=shape),
        prior=prior,
    )
    return Experiment(data.MNIST(), model, ELBO(), num_steps=1000, optimiser=Adam(1e-3))


_VHP = _experiment(HierarchicalPrior(40))
EXPERIMENTS: dict[str, Experiment] = {
    "VAE": _experiment(StandardNormal(40)),
    "mixture": _experiment(GaussianMixture(40, 500)),
    "GTM": _experiment(GTM(40, grid_size=22)),
    "flow": _experiment(FlowPrior(40)),
    "VAMP": _experiment(VampPrior(40, _SHAPE, num_components=500)),
    "VHP": _VHP,
    "VHP + REWO": _VHP.with_fields(objective=Lagrangian({"nll": NLL(0.085)}), dual=Rewo()),
}
# A network whose steps are mostly overhead: many members in one program cost little more than one.
SMALL = _experiment(StandardNormal(2), hidden=16, shape=(8, 8, 1))


def images(shape: tuple[int, ...] = _SHAPE) -> Splits:
    """Grey images of about MNIST's mean, so that the time depends on no file."""
    x = 0.26 * np.random.default_rng(0).random((10_000, *shape), np.float32)
    few = Examples(x[:100])
    return Splits(Examples(x), few, few)


def training(run: Run, steps: int) -> Rate:
    """Training steps per second of the program that training runs, warm."""
    return _training(Single(_shortened(run, steps)), steps)


def together(run: Run, steps: int) -> Rate:
    """Training steps per second of all members of one program."""
    members = [{"seed": seed} for seed in range(NUM_MEMBERS)]
    return _training(Members(_shortened(run, steps), members), steps)


def _shortened(run: Run, steps: int) -> Run:
    experiment = of_length(run.experiment, steps)
    experiment = experiment.with_fields(log_every=steps, evaluate_every=steps)
    return Run(experiment, run.splits, run.name, run.splits_given)


def _training(program: Program, steps: int) -> Rate:
    mesh = program.mesh()
    run_steps, source = program.compile_steps(mesh), replicate(program.run.source(), mesh)
    state = program.place(program.initial_state(), mesh)

    def dispatch() -> None:
        nonlocal state
        state = _trained(run_steps, state, source, steps)

    return _timed(dispatch, steps * len(program.runs))


def _trained(run_steps: Any, state: TrainState, source: Any, steps: int) -> TrainState:
    return jax.block_until_ready(run_steps(state, source, num_steps=steps))[0]


def log_likelihood(num_test: int) -> Rate:
    """Test images per second at 5000 importance samples, warm."""
    run = Run.load(EXPERIMENTS["VAE"], splits=images())
    x = np.round(2 * run.splits.train.x[:num_test])
    subject, key = Subject(run.experiment.model, run.initial_params(), x), jax.random.key(0)
    return _timed(lambda: evaluation.log_likelihood(subject, key, num_samples=5000), num_test)


def _timed(function: Callable[[], object], units: int) -> Rate:
    """Units per second of a function, which is called once before."""
    function()

    def rate() -> float:
        start = time.perf_counter()
        function()
        return units / (time.perf_counter() - start)

    return rate


def peers(python: str, script: str) -> Mapping[str, Rate]:
    """Pythae by its own benchmark, and eager PyTorch by ours, in another interpreter.

    A rate raises `UsageError` if its command fails.
    """

    def measure(*command: str) -> float:
        output = subprocess.run([python, *command], capture_output=True, text=True, check=False)
        if output.returncode:
            raise UsageError(f"{python} {command[0]} failed: {output.stderr.strip()[-300:]}")
        return json.loads(output.stdout.strip().splitlines()[-1])["median"]

    def pythae(model: str, mode: str) -> Rate:
        options = ("--models", model, "--mode", mode, "--repeats", "3", "--nll_points", "20")
        return lambda: measure(script, *options)

    return {
        "Pythae VAE, bare loop": pythae("VAE", "loop"),
        "Pythae VAMP, bare loop": pythae("VAMP", "loop"),
        "Pythae VAE, get_nll": pythae("VAE", "nll"),
        "PyTorch VAE, eager": lambda: measure(str(Path(__file__).with_name("eager_torch.py"))),
    }
