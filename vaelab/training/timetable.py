"""The steps at which a run logs, validates and ends."""

from __future__ import annotations

import dataclasses

import numpy as np

from vaelab.checks import check_at_least_one
from vaelab.training.sharding import fetch
from vaelab.training.state import Best, TrainState


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
