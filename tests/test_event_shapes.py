"""Data of other shapes than images, and images of two channels, through a whole run and its plots."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from vaelab import data, runs
from vaelab.likelihoods import GaussianDecoder
from vaelab.models import VAE
from vaelab.networks import MLP, ConditionalGaussian
from vaelab.priors import StandardNormal
from vaelab.runs.experiment import Experiment
from vaelab.runs.record import to_record
from vaelab.runs.run import Run
from vaelab.training.objectives import ELBO
from vaelab.training.samplers import Balanced

X = np.random.default_rng(0).random((60, 4, 5, 2)).astype(np.float32)


def experiment_on(data_set, shape) -> Experiment:
    model = VAE(
        encoder=ConditionalGaussian(MLP((4,), event_ndims=len(shape)), 2),
        decoder=GaussianDecoder(MLP((4,)), shape),
        prior=StandardNormal(2),
    )
    return Experiment(
        data=data_set, model=model, objective=ELBO(), num_steps=4, log_every=2, evaluate_every=4,
        batch_size=6, num_samples=2, posterior_samples=1,
    )  # fmt: skip


def finish(experiment: Experiment, folder) -> tuple[runs.Result, set[str]]:
    """Trains, evaluates and draws; the result and the names of the plots."""
    result = runs.train(experiment, workdir=folder, progress=False)
    assert result.run.experiment.data.describe() in result.report().bound
    assert (folder / "report.json").exists()
    return result, {path.stem for path in folder.glob("*.png")}


BYTES = np.rint(255 * X).astype(np.uint8)
PLOTS = {"training", "reconstructions", "samples", "latent_space"}


@pytest.mark.parametrize(
    "data_set", [data.Dequantised(data.Arrays(BYTES)), data.Standardised(data.Arrays(X))]
)
def test_images_of_two_channels_have_a_report_and_plots(data_set, tmp_path):
    result, plots = finish(experiment_on(data_set, (4, 5, 2)), tmp_path)
    assert plots == PLOTS
    run = result.run
    assert run.show(run.splits.test.x).images.shape == (6, 4, 10, 1)


@pytest.mark.parametrize("shape", [(40,), (8, 5)])
def test_vectors_and_sequences_have_a_report_and_no_plots_of_themselves(shape, tmp_path):
    targets = np.linspace(0, 1, 60)
    arrays = data.Arrays(10 * X.reshape(60, *shape), targets, groups=np.arange(60) % 7)
    experiment = experiment_on(data.Standardised(arrays), shape)
    result, plots = finish(dataclasses.replace(experiment, sampler=Balanced()), tmp_path)
    assert plots == PLOTS - {"reconstructions", "samples"}
    record = json.loads((tmp_path / "config.json").read_text())["configuration"]
    assert record == json.loads(json.dumps(to_record(result.run.experiment)))
    assert record["sampler"] == {"type": "vaelab.training.Balanced"}
    assert record["data"]["source"]["x"]["shape"] == [60, *shape]


def test_a_test_split_of_one_is_refused_before_training():
    with pytest.raises(
        ValueError, match=r"^the test split holds one example, which has no standard"
    ):
        Run.load(experiment_on(data.Arrays(X, test=X[:1]), (4, 5, 2)), None)


def test_balanced_without_groups_is_refused_before_training():
    experiment = experiment_on(data.Arrays(X), (4, 5, 2))
    with pytest.raises(ValueError, match=r"^sampler Balanced needs groups or classes: "):
        Run.load(dataclasses.replace(experiment, sampler=Balanced()), None)
