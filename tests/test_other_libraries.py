"""The examples in Equinox and NNX: a constraint, a learned prior and GECO outside of Linen."""

from __future__ import annotations

import numpy as np
import pytest

from experiments import with_equinox, with_nnx


@pytest.mark.parametrize("example", [with_equinox, with_nnx])
def test_the_constraint_and_the_elbo_improve_and_the_prior_learns(example):
    before, after, constraint, multiplier = example.train(num_steps=300)
    assert np.all(np.isfinite([*before, *after, constraint, multiplier]))
    assert constraint < 0.7 * (before.nll - example.KAPPA)
    assert after.nll < 0.8 * before.nll
    assert after.elbo > before.elbo + 10.0
    # The violated constraint has raised its multiplier, and the prior has followed the posteriors.
    assert multiplier > 1.0
    assert after.rate < after.standard_rate - 1.0
