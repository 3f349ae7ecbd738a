"""A step that is skipped leaves the latch and the averages as if it had not been."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vaelab import saddle
from vaelab.types import Saddle


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_constraint_that_is_not_finite_is_not_met(value):
    """Also at the first step, where the average starts: it is 0 before."""
    tx = saddle.saddle_point(optax.sgd(0.1), saddle.geco(0.1))
    variables = Saddle(jnp.array(1.0), {"c": jnp.array(1.0)})
    gradients = Saddle(jnp.array(0.5), {"c": jnp.array(value)})
    _, state = jax.jit(tx.update)(gradients, tx.init(variables), variables)
    assert not state.feasible_once
    assert float(state.average["c"]) == 0.0
    met = Saddle(jnp.array(0.5), {"c": jnp.array(-1.0)})
    _, state = jax.jit(tx.update)(met, tx.init(variables), variables)
    assert state.feasible_once
