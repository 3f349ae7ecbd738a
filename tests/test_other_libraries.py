"""The examples in Equinox and NNX: a constraint, a learned prior and GECO outside of Linen."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from experiments import with_equinox, with_nnx

NUM_STEPS = 300


@pytest.fixture(params=[with_equinox, with_nnx], ids=["equinox", "nnx"])
def example(request):
    return request.param


def prior_of(example, variables):
    params = variables.params
    return params.prior if example is with_equinox else params["prior"]


def test_the_constraint_and_the_elbo_improve_and_the_prior_learns(example):
    first, before = example.train(num_steps=0)
    variables, after = example.train(num_steps=NUM_STEPS)
    assert np.all(np.isfinite([*before.values(), *after.values()]))
    assert after["nll"] - example.KAPPA < 0.7 * (before["nll"] - example.KAPPA)
    assert after["nll"] < 0.8 * before["nll"]
    assert after["elbo"] > before["elbo"] + 10.0
    # The violated constraint has raised its multiplier.
    assert first.multipliers["nll"] == 1.0 < variables.multipliers["nll"]
    moved = jax.tree.map(
        lambda a, b: np.abs(a - b).max(), prior_of(example, first), prior_of(example, variables)
    )
    assert min(jax.tree.leaves(moved)) > 1e-2


def test_a_constraint_that_is_met_lowers_its_multiplier(example, monkeypatch):
    monkeypatch.setattr(example, "KAPPA", 1.0)  # above the NLL of the first step, log 2
    variables, _ = example.train(num_steps=20)
    assert 0.0 < variables.multipliers["nll"] < 1.0
