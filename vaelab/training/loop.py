"""The training loop: dispatches many steps at once, validates, keeps the best, stops early."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from vaelab.checks import UsageError, check_at_least_one
from vaelab.training.pace import Pace
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
    """The loss of a run, or of all members, is NaN or infinite, at more steps in a row than may be skipped."""

    def __init__(self, step: int, last_metrics: Mapping[str, Any], num_steps: int = 1):
        self.step = step
        self.last_metrics = {name: np.asarray(value) for name, value in last_metrics.items()}
        shown = ", ".join(
            f"{name} {np.array2string(value, precision=6)}"
            for name, value in self.last_metrics.items()
        )
        what, since = "the loss", ""
        if num_steps > 1:
            what, since = "the loss or its gradient", f" and stayed so for {num_steps} steps"
        super().__init__(
            f"{what} became non-finite at step {step}{since}, and training stopped; the last finite "
            f"metrics were: {shown or 'none'}."
        )


class Hook:
    """What a training run calls while it trains. Each method does nothing by default.

    One object may serve several runs, one after the other.
    """

    def on_metrics(self, step: int, metrics: Metrics) -> None:
        """Receives the means of the metrics since the last call; at a validation its bounds."""

    def on_unlogged(self, step: int, metrics: Metrics) -> None:
        """Receives the metrics of each step since the last call of `on_metrics`, [T] or [M, T].

        At an interruption between two stops of the timetable, before `on_checkpoint`.
        """

    def on_checkpoint(self, state: TrainState) -> None:
        """Receives the state after each validation and at an interruption, before its next donation."""


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
        "skipped" is 1 at a step that was skipped; means leave it out, and the row holds the number of them.
      interrupted: called between two dispatches; True ends training at that step.
      unlogged: what `on_unlogged` received at the state's step.
      agreed: one number for all processes, at most that of each; at first the numbers are equal.

    Raises:
      NonFiniteLossError: the loss of all members is non-finite at more steps in a row; no checkpoint is made
        after it.
    """
    last_row: Metrics = {}
    bad = _BadSteps(nonfinite_limit)

    def report(interval: _Interval) -> None:
        nonlocal last_row
        steps = interval.fetch()
        bad.check(interval.first_step, steps, last_row)
        last_row = _means(steps)
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


class _BadSteps:
    """Counts the steps in a row at which no member has a finite loss and gradient."""

    def __init__(self, limit: int):
        self._limit, self._in_a_row = limit, 0
        self._before: Metrics = {}  # metrics of the last step that was none of them

    def check(self, first_step: int, steps: Metrics, last_row: Metrics) -> None:
        """Raises if there are more than the limit, at the metrics [T] or [M, T] of the next steps."""
        loss = steps["loss"]
        skipped = steps.get("skipped", np.zeros_like(loss))
        bad = np.all((~np.isfinite(loss) | (skipped > 0)).reshape(-1, loss.shape[-1]), axis=0)
        for index in range(len(bad)) if self._in_a_row or bad.any() else ():
            if bad[index] and not self._in_a_row:
                before = {n: v[..., index - 1] for n, v in steps.items() if n != "skipped"}
                self._before = before if index else last_row
            self._in_a_row = self._in_a_row + 1 if bad[index] else 0
            if self._in_a_row > self._limit:
                step = first_step + index + 2 - self._in_a_row
                raise NonFiniteLossError(step, self._before, self._in_a_row)


def _means(steps: Metrics) -> dict[str, np.ndarray]:
    """The mean of each metric over the steps [T] or [M, T], and the number of skipped ones if there are any."""
    rest = {name: value for name, value in steps.items() if name != "skipped"}
    skipped = steps.get("skipped", np.zeros(1))
    if not skipped.any():
        return {name: np.mean(value, axis=-1) for name, value in rest.items()}
    made = skipped == 0
    with np.errstate(invalid="ignore"):  # NaN if every step was skipped
        means = {
            name: np.where(made, value, 0).sum(axis=-1) / made.sum(axis=-1)
            for name, value in rest.items()
        }
    return means | {"skipped": skipped.sum(axis=-1)}


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
