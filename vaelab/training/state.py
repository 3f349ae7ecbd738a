"""The train state: one pytree of arrays, so that runs compose with scan, vmap, jit and checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vaelab.models import Model
from vaelab.one_off import is_traced, quick_options
from vaelab.saddle import SaddleState
from vaelab.training.averaging import ParameterAverage, start_average
from vaelab.training.objectives import Objective
from vaelab.types import Array, Examples, PRNGKey, PyTree, Saddle, as_examples

# What the run's key is folded with beside the numbers of steps, which stay below.
INIT, ORDER = 2**31 - 1, 2**31 - 2


class Best(NamedTuple):
    """The best evaluation so far; its bound is −inf before there is one.

    The training loop keeps it on the host: on the devices it would take as much memory as the parameters.
    """

    bound: Array | np.ndarray  # [], validation bound, nats
    step: Array | np.ndarray  # [], when
    variables: Saddle
    average: PyTree  # of each constraint, at that step


class TrainState(NamedTuple):
    """Everything a run needs to go on."""

    step: Array  # [], updates made
    key: PRNGKey  # of the whole run; steps fold in their number
    variables: Saddle
    opt_state: SaddleState  # of `saddle.saddle_point`, which `tx` must come from
    best: Best
    ema: ParameterAverage | tuple[()] = ()  # () where nothing is averaged

    @property
    def evaluated(self) -> Saddle:
        """The variables that evaluation uses: with the averaged parameters where there is an average."""
        if not self.ema:
            return self.variables
        return self.variables._replace(params=self.ema.params)


# Axes of a state of members: each leaf has the member first, except the step, which is common to all.
# Otherwise every choice that depends on the step, such as whether to shuffle, is made both ways.
MEMBERS = TrainState(step=None, key=0, variables=0, opt_state=0, best=0, ema=0)  # type: ignore[arg-type]


def initial_state(
    model: Model,
    objective: Objective,
    tx: optax.GradientTransformation,
    data: Examples | Array,
    key: PRNGKey,
    *,
    initial_multiplier: float | Array | Mapping[str, float | Array] = 1.0,
    ema_decay: float | Array | None = None,
    params: PyTree | None = None,
) -> TrainState:
    """The state before the first step. The data, x [N, *event] or examples, initialise it.

    Args:
      params: parameters to start from. None draws fresh ones.
      initial_multiplier: λ at the start: one number, or one for each constraint by its name.
      ema_decay: decay of the moving average of the parameters; None averages nothing.
    """
    starts = (
        initial_multiplier
        if isinstance(initial_multiplier, Mapping)
        else dict.fromkeys(objective.constraints, initial_multiplier)
    )

    # One program: op by op, each shape of a parameter would be several programs. A part of another
    # program has no options of its own.
    options = {} if is_traced() else quick_options(1)

    @partial(jax.jit, compiler_options=options)
    def start(examples: Examples, key: PRNGKey, params: PyTree | None) -> TrainState:
        if params is None:
            keys = jax.random.split(jax.random.fold_in(key, INIT), 3)
            init_key, sample_key, data_key = keys
            first = examples.take(slice(1))
            fresh = model.init(init_key, first.x, sample_key, context=first.context)
            params = model.start_from(fresh["params"], examples.x, data_key)
        multipliers = {
            name: jnp.full([], starts[name], jnp.float32) for name in objective.constraints
        }
        variables = Saddle(params, multipliers)
        opt_state = tx.init(variables)
        zero = jnp.zeros([], jnp.int32)
        best = Best(jnp.full([], -jnp.inf, jnp.float32), zero, variables, opt_state.average)
        # A buffer can be donated only once: the best and the average get copies of their own.
        best, ema = jax.tree.map(jnp.copy, (best, start_average(params, ema_decay)))
        return TrainState(
            step=zero, key=key, variables=variables, opt_state=opt_state, best=best, ema=ema
        )

    # A model reads x and the context. Labels may be of any type.
    examples = as_examples(data)._replace(labels=None, groups=None)
    return start(examples, key, params)
