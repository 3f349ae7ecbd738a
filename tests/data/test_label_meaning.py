"""What labels mean: of every data set that knows it, through wrappers, and in the plot of a result."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from experiments.interpolation import families
from vaelab import data, runs
from vaelab.likelihoods import GaussianDecoder
from vaelab.models import VAE
from vaelab.networks import MLP, ConditionalGaussian
from vaelab.priors import StandardNormal
from vaelab.runs.experiment import Experiment
from vaelab.training import ELBO

MOVEMENTS = ("walk", "run", "balance", "punch", "wash")
ANGLE = data.LabelMeaning("angle", period=2 * np.pi)


@dataclasses.dataclass(frozen=True)
class NamedDigits(data.Digits):
    """Digits whose classes have names."""

    @property
    def label_meaning(self) -> data.LabelMeaning:
        return data.LabelMeaning("digit", tuple("abcdefghij"))


def test_data_sets_say_what_their_labels_mean():
    assert data.MotionCapture().label_meaning == ("movement", MOVEMENTS, None)
    assert data.Pendulum().label_meaning == ANGLE
    assert data.Digits().label_meaning == ("label", (), None)


def test_wrappers_that_keep_labels_keep_their_meaning():
    pendulum = data.Pendulum()
    for wrapped in (
        data.Dequantised(pendulum),
        data.Resized(pendulum, 8),
        data.Standardised(pendulum),
    ):
        assert wrapped.label_meaning == ANGLE
    named = NamedDigits(binarisation="none")
    for made in (data.MicroMNIST, data.MNISTSum, data.MNISTRotate):
        assert made(named).label_meaning == named.label_meaning
    assert data.ColorMNIST(named, tinted=True).label_meaning == named.label_meaning


@pytest.mark.parametrize("made", [data.ColorMNIST, data.MNISTTriplets, data.MNISTSumHard])
def test_new_labels_do_not_have_the_meaning_of_the_old_ones(made):
    assert made(NamedDigits(binarisation="none")).label_meaning == data.LabelMeaning()


def test_families_of_paths_read_the_meaning_from_their_data():
    motion, pendulum, faces = map(families.of, ("motion", "pendulum", "faces"))
    assert (motion.label, motion.names, motion.period) == ("movement", MOVEMENTS, None)
    assert (pendulum.label, pendulum.names, pendulum.period) == ANGLE
    assert faces.names == ()


def test_the_plot_of_a_result_shows_angles_as_angles_and_data_that_were_handed_over_as_numbers():
    source = data.Pendulum(8, flat=True, num_train=20, num_validation=4, num_test=12)
    model = VAE(
        encoder=ConditionalGaussian(MLP((4,)), 2),
        decoder=GaussianDecoder(MLP((4,)), (64,)),
        prior=StandardNormal(2),
    )
    experiment = Experiment(source, model, ELBO(), num_steps=1, batch_size=10)
    for given, name in (({}, "angle"), ({"data": source.load()}, "label")):
        result = runs.train(experiment, **given, progress=False)
        (bar,) = result.plot_latents().axes[0].child_axes
        assert bar.get_ylabel() == name
        assert (bar.get_ylim()[1] == 2 * np.pi) == (name == "angle")
