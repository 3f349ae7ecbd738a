"""What a training run calls while it trains."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vaelab.training.state import TrainState

Metrics = Mapping[str, np.ndarray]  # {name: []} of one run, {name: [M]} of M members


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
