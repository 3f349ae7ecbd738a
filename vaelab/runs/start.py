"""What training starts from: fresh parameters, another run's parameters, or a run's whole state."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import jax
from etils import epath

from vaelab.checks import UsageError
from vaelab.runs.experiment import Experiment
from vaelab.runs.history import History
from vaelab.runs.identity import digest_of, generator, identity
from vaelab.runs.programs import Program
from vaelab.runs.record import differing_fields
from vaelab.runs.trained import Trained, check_params
from vaelab.runs.training_files import can_continue
from vaelab.training.state import TrainState
from vaelab.types import PyTree


class StartingPoint(NamedTuple):
    """A whole state and its history, or parameters alone, or nothing."""

    state: TrainState | None = None
    history: History = History([])  # never appended to
    params: PyTree | None = None
    digest: str | None = None  # of the parameters


def starting_point(
    start: Trained | epath.PathLike | None, program: Program, modules: Any = ()
) -> StartingPoint:
    """Continues a run if it is of the same experiment; else takes its parameters.

    Raises:
      UsageError: the run cannot be continued, or its parameters do not fit.
    """
    if start is None:
        return StartingPoint()
    if isinstance(start, str | os.PathLike):
        from vaelab.runs.loading import load

        start = load(start, modules=modules)
    run, record = program.run, start.record
    if record is not None and program.alone and not differing_fields(
        identity(run.record), identity(record)
    ):  # fmt: skip
        usable = can_continue(run.experiment, record["num_steps"])
        state = start.whole_state(program.shapes(program.mesh()), usable)
        if state is not None:
            _check_generator(state)
            _check_continues(start, run.experiment, int(state.step))
            return StartingPoint(state, start.history, None, start.started_from)
    like = jax.eval_shape(program.runs[0].initial_params)
    check_params("start has", start.params, like)
    return StartingPoint(params=start.params, digest=digest_of(start.params))


def _check_generator(state: TrainState) -> None:
    theirs = str(jax.random.key_impl(state.key))
    if theirs != generator():
        raise UsageError(
            f"start was trained with the random number generator {theirs}, and this process has "
            f"{generator()}: set jax_default_prng_impl to that of start."
        )


def _check_continues(start: Trained, experiment: Experiment, step: int) -> None:
    if start.record is not None and start.record["num_steps"] != experiment.num_steps:
        experiment.check_longer()
    if step > experiment.num_steps:
        raise UsageError(
            f"num_steps = {experiment.num_steps} is less than the {step} steps that start has made: "
            "increase it."
        )
    record = start.record or {"num_steps": experiment.num_steps}
    if experiment.patience is not None and not can_continue(experiment, record["num_steps"])(step):
        raise UsageError(
            f"start ended at step {step}, between two validations (evaluate_every = "
            f"{experiment.evaluate_every}), and patience counts them: choose num_steps as a multiple of "
            "evaluate_every, or train with a workdir."
        )
