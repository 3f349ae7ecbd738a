"""A run's data: which test images a subset takes, and what is said of a κ beyond the data."""

import warnings

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from small import elbo

from experiments import taming
from vaelab import runs
from vaelab.checks import UsageError
from vaelab.constraints import CLA
from vaelab.runs.identity import digest_of
from vaelab.runs.run import Run
from vaelab.training import ELBO
from vaelab.types import Examples

base = taming.EXPERIMENTS["grey_digits_mlp_elbo"]


def test_a_subset_of_the_test_examples_is_a_random_one_that_stays():
    splits = Run.load(base, None).splits
    every = Examples(np.arange(1000.0), np.arange(1000) % 10)  # classes in turn, as some files have
    run = Run(base, splits._replace(test=every))
    subset = run.test_examples(300)
    np.testing.assert_array_equal(subset.labels, subset.x % 10)
    assert len(np.unique(subset.x)) == 300
    np.testing.assert_array_equal(run.test_examples(300).x, subset.x)
    assert stats.chisquare(np.bincount(subset.labels, minlength=10)).pvalue > 0.01
    assert stats.kstest(subset.x / 1000, "uniform").pvalue > 0.01


@pytest.mark.parametrize("num", [None, 300, 301])
def test_all_test_examples_are_taken_once(num):
    run = Run.load(base, None)
    np.testing.assert_array_equal(run.test_examples(num).x, run.splits.test.x)


def always_three(x):
    return jnp.broadcast_to(jnp.arange(10) == 3, (len(x), 10)).astype(jnp.float32)


def test_a_kappa_beyond_what_the_images_themselves_reach_is_said():
    share = float(np.mean(Run.load(base, None).splits.train.labels == 3))
    with pytest.warns(
        UserWarning, match=rf"kappa = 0\.5 of the constraint CLA is above .* {share:.3g}: choose"
    ):
        Run.load(taming.geco(base, cla=CLA(0.5, always_three)), None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Run.load(taming.geco(base, cla=CLA(share - 0.01, always_three)), None)


def test_a_digest_tells_shapes_and_places_apart():
    x = np.arange(10, dtype=np.float32)
    trees = [(x,), (x.reshape(5, 2),), (x[:4], x[4:]), (x[:5], x[5:]), {"a": x}, {"b": x}]
    assert len({digest_of(tree) for tree in trees}) == len(trees)
    assert digest_of({"a": x.copy()}) == digest_of({"a": x})


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("optimiser", None, "optimiser must be of the type Optimiser, got None"),
        ("dual", "geco", "dual must be of the type Dual or None, got 'geco'"),
        ("model", 3, "model must be of the type Model, got 3"),
        ("num_steps", "10", "num_steps must be a whole number, got '10'"),
        ("num_test", 2.5, "num_test must be a whole number, got 2.5"),
        ("objective", ELBO, r"objective is the class ELBO: give an instance, ELBO\(...\)"),
    ],
)
def test_an_experiment_refuses_what_keeps_no_contract(field, value, sentence):
    with pytest.raises(UsageError, match=f"^{sentence}"):
        elbo(**{field: value})


@pytest.mark.parametrize("experiment", [None, "digits_vae_elbo"])
def test_only_an_experiment_is_trained(experiment):
    with pytest.raises(UsageError, match=r"^experiment must be of the type Experiment, got"):
        runs.train(experiment)
