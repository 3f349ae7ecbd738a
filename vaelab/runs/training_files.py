"""Checkpoints of a program, and the seconds of its training."""

from __future__ import annotations

import time
from collections.abc import Callable

from etils import epath

from vaelab.checks import UsageError
from vaelab.runs.experiment import Experiment
from vaelab.runs.files import read_json, write_json
from vaelab.training.checkpoint import Checkpoints
from vaelab.training.state import TrainState


class TrainingFiles:
    """`checkpoints/` and `seconds.json` of a folder."""

    def __init__(self, folder: epath.Path):
        self._folder = folder
        self._open: Checkpoints | None = None
        self._seconds_before, self._start = 0.0, time.monotonic()

    def restore(
        self, like: TrainState, experiment: Experiment, steps_before: int
    ) -> TrainState | None:
        """The newest state, None if there is none. `steps_before` is the length that was recorded.

        A longer run restarts at a step at which it stops, too: at no end between two validations.

        Raises:
          UsageError: more steps were made than the experiment has.
        """
        usable: Callable[[int], bool] = lambda step: True  # noqa: E731
        if experiment.num_steps != steps_before:
            every = experiment.evaluate_every
            usable = lambda step: step % every == 0 or step < steps_before  # noqa: E731
        state = self._checkpoints().restore(like, usable)
        if state is not None and int(state.step) > experiment.num_steps:
            raise UsageError(
                f"workdir {self._folder} holds a run of {int(state.step)} steps, more than num_steps = "
                f"{experiment.num_steps}: choose another --workdir."
            )
        return state

    def start_training(self) -> None:
        """Starts the clock."""
        self._seconds_before, self._start = self.seconds, time.monotonic()

    def save(self, state: TrainState) -> None:
        """Writes a checkpoint in the background, unless this step has one."""
        if int(state.step) not in self._checkpoints().steps():
            self._checkpoints().save(state)
        seconds = self._seconds_before + time.monotonic() - self._start
        write_json(self._folder / "seconds.json", seconds)

    @property
    def seconds(self) -> float:
        """Seconds of training until the last checkpoint, over all interruptions."""
        path = self._folder / "seconds.json"
        return float(read_json(path)) if path.exists() else 0.0

    def close(self) -> None:
        """Returns when everything is on disk."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _checkpoints(self) -> Checkpoints:
        if self._open is None:
            self._open = Checkpoints(self._folder / "checkpoints")
        return self._open
