"""A run's data: which test images a subset takes, and what is said of a κ beyond the data."""

import warnings

import jax.numpy as jnp
import numpy as np
import pytest

from experiments import taming
from experiments.configs.grey_digits_mlp_elbo import experiment as base
from experiments.run import Run
from vaelab.constraints import CLA


@pytest.mark.parametrize(
    ("num", "rows"), [(3, [0, 100, 200]), (7, [0, 42, 85, 128, 171, 214, 257])]
)
def test_a_subset_of_the_test_images_is_spread_evenly(num, rows):
    run = Run.load(base, None)
    subset = run.test_examples(num)
    np.testing.assert_array_equal(subset.x, run.splits.test.x[rows])
    np.testing.assert_array_equal(subset.labels, run.splits.test.labels[rows])


@pytest.mark.parametrize("num", [None, 300, 301])
def test_all_test_images_are_taken_once(num):
    run = Run.load(base, None)
    np.testing.assert_array_equal(run.test_examples(num).x, run.splits.test.x)


def always_three(x):
    return jnp.broadcast_to(jnp.arange(10) == 3, (len(x), 10)).astype(jnp.float32)


def test_a_kappa_beyond_what_the_images_themselves_reach_is_said():
    share = float(np.mean(Run.load(base, None).splits.train.labels == 3))
    with pytest.warns(
        UserWarning, match=rf"kappa = 0\.5 of the constraint CLA is more .* {share:.3g}: choose"
    ):
        Run.load(taming.geco(base, cla=CLA(0.5, always_three)), None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Run.load(taming.geco(base, cla=CLA(share - 0.01, always_three)), None)
