"""Seven digits: how constraints tile the latent space."""

from __future__ import annotations

import os
import pathlib

import jax
import numpy as np
import pytest

from experiments.fixed_points import micro_mnist
from vaelab import runs

DATA = pathlib.Path(
    os.environ.get("VAELAB_DATA") or pathlib.Path(__file__).parents[1] / "../shared/data"
)
needs_mnist = pytest.mark.skipif(not (DATA / "mnist").exists(), reason="needs the files of MNIST")


@needs_mnist
def test_the_numbers_are_means_over_the_last_rows():
    experiment = micro_mnist.EXPERIMENTS["re_0.1"]
    (result,) = runs.train(
        experiment, members=[{"seed": 0}], data_dir=str(DATA), progress=False, num_steps=3,
        log_every=1, evaluate_every=3,
    )  # fmt: skip
    figure, numbers = micro_mnist.posteriors({"RE": result}, jax.random.key(0))
    reached = numbers["RE"]
    assert reached.rate == pytest.approx(result.history["rate"][1:].mean())
    assert reached.rmse == pytest.approx(np.sqrt(result.history["mse"][1:].mean()))
    # C of RE is a sum over pixels of squared errors, less κ².
    average = result.history["average/re"][-1]
    assert reached.achieved["re"] == pytest.approx(np.sqrt(average / 784 + 0.1**2), rel=1e-4)
    assert reached.multipliers["re"] == pytest.approx(result.history["multiplier/re"][-1])
    assert figure.axes[0].get_title("left") == "RE"


@pytest.mark.slow
@needs_mnist
def test_constraints_tile_the_latent_space_at_a_lower_rate_than_the_elbo():
    trained = {
        micro_mnist.title(experiment): runs.train(
            experiment, members=[{"seed": 0}], data_dir=str(DATA), progress=False
        )[0]
        for experiment in micro_mnist.EXPERIMENTS.values()
    }
    figure, numbers = micro_mnist.posteriors(trained, jax.random.key(0))
    assert len(figure.axes) >= len(micro_mnist.EXPERIMENTS) == 4
    assert numbers["ELBO"].rate > 5 * numbers["log 7"]
    for name, kappa in (("GECO, RE ≤ 0.06", 0.06), ("GECO, RE ≤ 0.1", 0.1)):
        assert numbers[name].achieved["re"] == pytest.approx(kappa, rel=0.02)
        assert numbers[name].rate < 1.1 * numbers["log 7"]
