"""The metrics of a run: rows as they are logged, columns as they are used."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np

from vaelab.checks import UsageError

Row = dict[str, float]  # "step" and metrics


@dataclasses.dataclass(frozen=True, eq=False)
class History:
    """Metrics logged during training, each row the means since the row before, or a validation.

    >>> history = History([{"step": 10, "elbo": -3.0}, {"step": 10, "validation/elbo": -4.0}])
    >>> history["elbo"], history.steps("validation/elbo")
    (array([-3.]), array([10]))
    """

    rows: list[Row]

    def __getitem__(self, name: str) -> np.ndarray:
        """All values of a metric, [T]."""
        return np.array([row[name] for row in self._with(name)])

    def steps(self, name: str) -> np.ndarray:
        """The steps at which a metric was logged, [T]."""
        return np.array([int(row["step"]) for row in self._with(name)])

    @property
    def names(self) -> list[str]:
        """Names of the metrics."""
        return [n for n in dict.fromkeys(name for row in self.rows for name in row) if n != "step"]

    def training_rows(self) -> Iterator[Row]:
        """The rows of training steps, without those of validations."""
        return (row for row in self.rows if "loss" in row)

    def until(self, step: int) -> History:
        """The rows up to a step."""
        return History([row for row in self.rows if row["step"] <= step])

    def and_row(self, step: int, metrics: Mapping[str, float]) -> None:
        """Appends a row."""
        self.rows.append({"step": step} | {name: float(v) for name, v in metrics.items()})

    def _with(self, name: str) -> list[Row]:
        rows = [row for row in self.rows if name in row]
        if not rows:
            raise UsageError(f"there is no metric {name!r}; there are {', '.join(self.names)}.")
        return rows
