"""The outer loop: dispatches many steps at a time, evaluates, stops early."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.checks import check_at_least_one
from vaelab.training.sources import Source
from vaelab.training.state import Best, TrainState
from vaelab.types import Array, Saddle


@dataclasses.dataclass(frozen=True)
class Timetable:
    """When a run logs, evaluates and ends, in steps."""

    num_steps: int
    log_every: int
    evaluate_every: int
    patience: int | None = None  # evaluations without a better bound before the run stops
    settling_steps: int = 0  # steps whose evaluations do not count against patience

    def __post_init__(self) -> None:
        check_at_least_one(
            num_steps=self.num_steps, log_every=self.log_every, evaluate_every=self.evaluate_every
        )

    def next_stop(self, step: int) -> int:
        """The next step at which something happens; it depends on the step alone, so that an
        interrupted run groups its steps as an uninterrupted one does."""
        ends = [step - step % n + n for n in (self.log_every, self.evaluate_every)]
        return min(*ends, self.num_steps)

    def evaluates_at(self, step: int) -> bool:
        return step % self.evaluate_every == 0 or step == self.num_steps

    def stopped(self, state: TrainState) -> bool:
        """Whether the run is over: all steps made, or no better bound for `patience` evaluations."""
        step = int(state.step)
        if step >= self.num_steps:
            return True
        if self.patience is None or not np.isfinite(state.best.bound):
            return False
        last = max(int(state.best.step), self.settling_steps)
        return step - last >= self.patience * self.evaluate_every


class NonFiniteLossError(RuntimeError):
    """The loss became NaN or infinite; training stopped."""

    def __init__(self, step: int, last_metrics: Mapping[str, float]):
        self.step = step
        self.last_metrics = dict(last_metrics)
        shown = ", ".join(f"{name} {value:.6g}" for name, value in self.last_metrics.items())
        super().__init__(
            f"the loss became non-finite at step {step}, and training stopped; the last finite "
            f"metrics were: {shown or 'none'}."
        )


def fit(
    state: TrainState,
    source: Source,
    *,
    run_steps: Callable[..., tuple[TrainState, dict[str, Array]]],
    timetable: Timetable,
    validate: Callable[[Saddle], dict[str, float]],
    log: Callable[[int, dict[str, float]], None],
    save: Callable[[TrainState], None],
) -> TrainState:
    """Trains from the state's step to the end of the timetable.

    Args:
      state: given up (donated) to the first dispatch.
      source: of the training batches, on the device: `sources.in_memory(...)`.
      run_steps: `step.compile_train_steps(...)`.
      timetable: when to log, evaluate and end.
      validate: metrics of the validation set; "validation/bound" is what early stopping maximises.
      log: receives (step, means of the metrics since the last call), and the validation bound.
      save: receives the state after each evaluation; it may be restored and passed in again.

    Raises:
      NonFiniteLossError: at the first non-finite loss; nothing is saved after it.
    """
    last_row: dict[str, float] = {}

    def report(first_step: int, metrics: dict[str, Array]) -> None:
        nonlocal last_row
        steps = jax.device_get(metrics)
        bad = np.flatnonzero(~np.isfinite(steps["loss"]))
        if bad.size:
            if bad[0] > 0:
                last_row = {name: float(values[bad[0] - 1]) for name, values in steps.items()}
            raise NonFiniteLossError(first_step + int(bad[0]) + 1, last_row)
        last_row = {name: float(np.mean(values)) for name, values in steps.items()}
        log(first_step + len(steps["loss"]), last_row)

    step = int(state.step)
    while not timetable.stopped(state):
        # Metrics are fetched one dispatch late, so that the device never waits for the host.
        pending = None
        while True:
            start, step = step, timetable.next_stop(step)
            state, metrics = run_steps(state, source, num_steps=step - start)
            if pending is not None:
                report(*pending)
            pending = (start, metrics)
            if timetable.evaluates_at(step):
                break
        report(*pending)
        validation = validate(state.evaluated)
        bound = validation["validation/bound"]
        if not np.isfinite(bound):
            raise NonFiniteLossError(step, last_row)
        log(step, validation)
        state = _keep_best(state, jnp.float32(bound))
        save(state)
    return state


@partial(jax.jit, donate_argnums=0)
def _keep_best(state: TrainState, bound: Array) -> TrainState:
    """Best variables so far, among those at which every constraint was met on average."""
    average = jax.tree.leaves(state.opt_state.average)
    met = jnp.all(jnp.array([c <= 0 for c in average], bool))
    better = met & (bound > state.best.bound)
    candidate = Best(bound, state.step, state.evaluated, state.opt_state.average)
    best = jax.tree.map(lambda new, old: jnp.where(better, new, old), candidate, state.best)
    return state._replace(best=best)
