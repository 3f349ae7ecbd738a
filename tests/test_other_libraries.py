"""The examples in Equinox and NNX: a constraint, a learned prior and GECO outside of Linen."""

from __future__ import annotations

import numpy as np
import pytest

from experiments import with_equinox, with_nnx


@pytest.mark.parametrize("example", [with_equinox, with_nnx])
def test_the_constraint_and_the_elbo_improve_and_the_prior_learns(example):
    few, more = example.train(num_steps=1), example.train(num_steps=300)
    for before, after, constraint, multiplier in (few, more):
        assert np.all(np.isfinite([*before, *after, constraint, multiplier]))
    assert few.before == more.before
    assert more.constraint < 0.7 * few.constraint
    assert more.after.nll < 0.8 * more.before.nll
    assert more.after.elbo > more.before.elbo + 10.0
    # The violated constraint has raised its multiplier, and the prior has followed the posteriors.
    assert more.multiplier > few.multiplier > 1.0
    assert more.after.rate < more.after.standard_rate - 1.0
