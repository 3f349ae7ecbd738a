"""The training loop: dispatches many steps at once, validates, keeps the best, stops early."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from vaelab.checks import UsageError, check_at_least_one
from vaelab.training.sharding import fetch
from vaelab.training.state import Best, TrainState
from vaelab.types import Array, Saddle

Metrics = Mapping[str, np.ndarray]  # {name: []} of one run, {name: [M]} of M members


@dataclasses.dataclass(frozen=True)
class Timetable:
    """The steps at which a run logs, validates and ends."""

    num_steps: int
    log_every: int
    evaluate_every: int
    patience: int | None = None  # validations without a better bound after which a run stops
    settling_steps: int = 0  # steps at the start whose validations do not count against patience

    def __post_init__(self) -> None:
        check_at_least_one(
            num_steps=self.num_steps, log_every=self.log_every, evaluate_every=self.evaluate_every
        )

    @property
    def longest_dispatch(self) -> int:
        """The largest number of steps between two stops."""
        return min(self.log_every, self.evaluate_every, self.num_steps)

    def next_stop(self, step: int) -> int:
        """The next step at which the run logs, validates or ends.

        It depends on the step alone. So an interrupted run groups its steps as an uninterrupted one.
        """
        ends = [step - step % n + n for n in (self.log_every, self.evaluate_every)]
        return min(*ends, self.num_steps)

    def evaluates_at(self, step: int) -> bool:
        return step % self.evaluate_every == 0 or step == self.num_steps

    def out_of_patience(self, best: Best, step: int) -> np.ndarray:
        """True if the last `patience` validations until `step` brought no better bound. [] or [M]."""
        if self.patience is None:
            return np.zeros(best.bound.shape, bool)
        bound, last = fetch((best.bound, best.step))
        last = np.maximum(last, self.settling_steps)
        return np.isfinite(bound) & (step - last >= self.patience * self.evaluate_every)

    def stopped(self, state: TrainState) -> bool:
        """True if all steps are made, or every member is out of patience."""
        step = int(state.step)
        if step >= self.num_steps:
            return True
        last_validation = step - step % self.evaluate_every  # patience is judged there alone
        return bool(np.all(self.out_of_patience(state.best, last_validation)))


class NonFiniteLossError(UsageError):
    """The loss of a run, or of all members, is NaN or infinite."""

    def __init__(self, step: int, last_metrics: Mapping[str, Any]):
        self.step = step
        self.last_metrics = {name: np.asarray(value) for name, value in last_metrics.items()}
        shown = ", ".join(
            f"{name} {np.array2string(value, precision=6)}"
            for name, value in self.last_metrics.items()
        )
        super().__init__(
            f"the loss became non-finite at step {step}, and training stopped; the last finite "
            f"metrics were: {shown or 'none'}."
        )


class Hook:
    """What a training run calls while it trains. Each method does nothing by default.

    One object may serve several runs, one after the other.
    """

    def on_metrics(self, step: int, metrics: Metrics) -> None:
        """Receives the means of the metrics since the last call; at a validation its bounds."""

    def on_checkpoint(self, state: TrainState) -> None:
        """Receives the state after each validation and at an interruption, before its next donation."""


def fit(
    state: TrainState,
    *,
    run_steps: Callable[..., tuple[TrainState, dict[str, Array]]],
    timetable: Timetable,
    validate: Callable[[Saddle], Metrics],
    hooks: tuple[Hook, ...] = (),
    interrupted: Callable[[], int] = lambda: False,
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
      interrupted: asked between two dispatches; True ends training at that step.

    Raises:
      NonFiniteLossError: the loss of all members is non-finite; no checkpoint is made after it.
    """
    last_row: Metrics = {}

    def report(first_step: int, num_steps: int, metrics: dict[str, Array]) -> None:
        nonlocal last_row
        steps = {
            name: np.asarray(value)[..., :num_steps]
            for name, value in jax.device_get(metrics).items()
        }
        # The first step at which no member has a finite loss.
        loss = steps["loss"].reshape(-1, num_steps)
        bad = np.flatnonzero(~np.isfinite(loss).any(axis=0))
        if bad.size:
            if bad[0] > 0:
                last_row = {name: value[..., bad[0] - 1] for name, value in steps.items()}
            raise NonFiniteLossError(first_step + int(bad[0]) + 1, last_row)
        last_row = {name: np.mean(value, axis=-1) for name, value in steps.items()}
        for hook in hooks:
            hook.on_metrics(first_step + num_steps, last_row)

    state = state._replace(best=fetch(state.best))
    run_steps, step = _without_best(run_steps), int(state.step)
    while not timetable.stopped(state):
        # Metrics are fetched one dispatch late, so that the device never waits for the host.
        pending = None
        while True:
            start, step = step, timetable.next_stop(step)
            state, metrics = run_steps(state, num_steps=step - start)
            if pending is not None:
                report(*pending)
            pending = (start, step - start, metrics)
            if timetable.evaluates_at(step) or interrupted():
                break
        report(*pending)
        if timetable.evaluates_at(step):
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
