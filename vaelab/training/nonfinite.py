"""Steps whose loss or gradient is not finite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vaelab.checks import UsageError
from vaelab.training.hooks import Metrics


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


class BadSteps:
    """Counts the steps in a row at which no member has a finite loss and gradient."""

    def __init__(self, limit: int):
        self._limit, self._in_a_row = limit, 0
        self._before: Metrics = {}  # metrics of the last step that was none of them

    def check(self, first_step: int, steps: Metrics, last_row: Metrics) -> None:
        """Raises if there are more than the limit, at the metrics [T] or [M, T] of the next steps."""
        loss = steps["loss"]
        skipped = steps.get("nonfinite", np.zeros_like(loss))
        bad = np.all((~np.isfinite(loss) | (skipped > 0)).reshape(-1, loss.shape[-1]), axis=0)
        for index in range(len(bad)) if self._in_a_row or bad.any() else ():
            if bad[index] and not self._in_a_row:
                before = {n: v[..., index - 1] for n, v in steps.items() if n != "nonfinite"}
                self._before = before if index else last_row
            self._in_a_row = self._in_a_row + 1 if bad[index] else 0
            if self._in_a_row > self._limit:
                step = first_step + index + 2 - self._in_a_row
                raise NonFiniteLossError(step, self._before, self._in_a_row)


def means(steps: Metrics) -> dict[str, np.ndarray]:
    """The mean of each metric over the steps [T] or [M, T], and the number of skipped ones if there are any."""
    rest = {name: value for name, value in steps.items() if name != "nonfinite"}
    skipped = steps.get("nonfinite", np.zeros(1))
    if not skipped.any():
        return {name: np.mean(value, axis=-1) for name, value in rest.items()}
    made = skipped == 0
    with np.errstate(invalid="ignore"):  # NaN if every step was skipped
        means = {
            name: np.where(made, value, 0).sum(axis=-1) / made.sum(axis=-1)
            for name, value in rest.items()
        }
    return means | {"nonfinite": skipped.sum(axis=-1)}
