"""A step that is skipped leaves the latch and the averages as if it had not been."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small import TRAIN, assert_close, bits, small_model

from vaelab import saddle
from vaelab.training import ELBO
from vaelab.training.state import initial_state
from vaelab.training.step import train_step
from vaelab.types import Saddle

MODEL = small_model()


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


def test_the_average_of_the_parameters_does_not_move_in_a_skipped_step():
    """Steps 1 and 3 are skipped. The average is that of the others, with their weights."""
    decay, key = 0.5, jax.random.key(0)
    tx = saddle.skip_nonfinite(saddle.saddle_point(optax.sgd(0.1), optax.identity()))
    settings = dict(model=MODEL, objective=ELBO(), tx=tx)
    state = initial_state(MODEL, ELBO(), tx, TRAIN, key, ema_decay=decay)
    made, averages = [], []
    for x in (np.nan * TRAIN, TRAIN, np.nan * TRAIN, TRAIN):
        before, (state, metrics) = state, train_step(state, x, key, **settings)
        averages.append(state.ema.params)
        if metrics["nonfinite"]:
            assert bits(state.ema) == bits(before.ema)
            assert bits(state.variables) == bits(before.variables)
        else:
            made.append(state.variables.params)
    assert len(made) == 2
    first, second = made
    assert_close(averages[1], first, rtol=1e-6)  # the initial parameters have no weight
    expected = jax.tree.map(lambda a, b: (decay * a + b) / (1 + decay), first, second)
    assert_close(averages[3], expected, rtol=1e-5, atol=1e-7)
