"""The training loop: dispatches many steps at once, validates, keeps the best, stops early."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from vaelab.training.hooks import Hook, Metrics
from vaelab.training.nonfinite import BadSteps, NonFiniteLossError, means
from vaelab.training.pace import Pace
from vaelab.training.sharding import fetch
from vaelab.training.state import Best, TrainState
from vaelab.training.timetable import Timetable
from vaelab.types import Array, Saddle


def fit(
    state: TrainState,
    *,
    run_steps: Callable[..., tuple[TrainState, dict[str, Array]]],
    timetable: Timetable,
    validate: Callable[[Saddle], Metrics],
    hooks: tuple[Hook, ...] = (),
    nonfinite_limit: int = 0,
    interrupted: Callable[[], int] = lambda: False,
    unlogged: Metrics | None = None,
    agreed: Callable[[int], int] = lambda number: number,
) -> TrainState:
    """Trains one run, or M members in one program, from the state's step to the end of the timetable.

    Each leaf of the state has a leading axis [M] if there are members, except `step`. A member out of
    patience keeps its best; the program ends when all are. A member whose loss becomes non-finite
    leaves the others alone.

    Args:
      state: donated to the first dispatch.
      run_steps: (state, *, num_steps) -> (state, metrics {name: [T] or [M, T]}), T at least num_steps,
        the first `num_steps` of them valid.
      timetable: when to log, validate and end.
      validate: metrics of the validation set; early stopping maximises "validation/bound".
      hooks: called in their order.
      nonfinite_limit: number of steps in a row that may have a loss or gradient that is not finite. The metric
        "nonfinite" is 1 at a step that was skipped; means leave it out, and the row holds the number of them. The
        count of successive steps starts again if a run continues from a checkpoint.
      interrupted: called between two dispatches; True ends training at that step.
      unlogged: what `on_unlogged` received at the state's step.
      agreed: one number for all processes, at most that of each; at first the numbers are equal.

    Raises:
      NonFiniteLossError: the loss of all members is non-finite at more steps in a row; no checkpoint is made
        after it.
    """
    last_row: Metrics = {}
    bad = BadSteps(nonfinite_limit)

    def report(interval: _Interval) -> None:
        nonlocal last_row
        steps = interval.fetch()
        bad.check(interval.first_step, steps, last_row)
        last_row = means(steps)
        for hook in hooks:
            hook.on_metrics(interval.first_step + steps["loss"].shape[-1], last_row)

    state = state._replace(best=fetch(state.best))
    run_steps, step, pace = _without_best(run_steps), int(state.step), Pace()
    while not timetable.stopped(state):
        # Metrics are fetched one dispatch late, so that the device never waits for the host.
        pending = None
        while True:
            interval, stop = _Interval.after(step, unlogged), timetable.next_stop(step)
            unlogged = None
            while True:
                num_steps = min(stop - step, agreed(pace.limit))
                state, metrics = run_steps(state, num_steps=num_steps)
                interval.parts.append((num_steps, metrics))
                pace.dispatched(num_steps, metrics)
                step += num_steps
                if step == stop or interrupted():
                    break
            if pending is not None:
                report(pending)
            pending = interval
            if step < stop or timetable.evaluates_at(step) or interrupted():
                break
        if step < stop:
            rows = pending.fetch()
            bad.check(pending.first_step, rows, last_row)
            for hook in hooks:
                hook.on_unlogged(step, rows)
        else:
            report(pending)
        if step == stop and timetable.evaluates_at(step):
            validation = validate(state.evaluated)
            bound = np.asarray(validation["validation/bound"])
            if not np.isfinite(bound).any():
                raise NonFiniteLossError(step, last_row)
            for hook in hooks:
                hook.on_metrics(step, validation)
            before = (step - 1) // timetable.evaluate_every * timetable.evaluate_every
            trained_on = ~timetable.out_of_patience(state.best, before)
            state = _keep_best(state, bound, trained_on)
        for hook in hooks:
            hook.on_checkpoint(state)
        if interrupted():
            break
    return state


@dataclasses.dataclass
class _Interval:
    """The steps between two stops, which one dispatch makes or several."""

    first_step: int
    parts: list[tuple[int, Mapping[str, Any]]]  # number of steps, metrics of at least as many

    @classmethod
    def after(cls, step: int, unlogged: Metrics | None) -> _Interval:
        if not unlogged:
            return cls(step, [])
        num_steps = unlogged["loss"].shape[-1]
        return cls(step - num_steps, [(num_steps, unlogged)])

    def fetch(self) -> dict[str, np.ndarray]:
        """The metrics of each step, [T] or [M, T]."""
        parts = [
            {name: np.asarray(value)[..., :num] for name, value in fetch(each).items()}
            for num, each in self.parts
        ]
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([p[name] for p in parts], axis=-1) for name in parts[0]}


def _without_best(run_steps: Callable[..., Any]) -> Callable[..., Any]:
    """The same steps on a state whose best stays on the host."""

    def run(state: TrainState, *, num_steps: int) -> tuple[TrainState, dict[str, Array]]:
        bare = state._replace(best=())  # type: ignore[arg-type]
        stepped, metrics = run_steps(bare, num_steps=num_steps)
        return stepped._replace(best=state.best), metrics

    return run


def _keep_best(state: TrainState, bound: np.ndarray, trained_on: np.ndarray) -> TrainState:
    """Best variables until now, among those at which every constraint was met on average. [] or [M]."""
    bound, average = bound.astype(np.float32), fetch(state.opt_state.average)
    better = np.isfinite(bound) & (bound > state.best.bound) & trained_on
    for constraint in jax.tree.leaves(average):
        better = better & (constraint <= 0)
    if not better.any():
        return state

    def choose(new: Any, old: np.ndarray) -> np.ndarray:
        chosen = better.reshape(better.shape + (1,) * (old.ndim - better.ndim))
        return np.where(chosen, new, old)

    step = np.asarray(state.step, state.best.step.dtype)
    candidate = Best(bound, step, fetch(state.evaluated), average)
    return state._replace(best=jax.tree.map(choose, candidate, state.best))
