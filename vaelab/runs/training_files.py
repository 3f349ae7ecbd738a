"""Checkpoints of a program, and the seconds of its training."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from etils import epath

from vaelab import processes
from vaelab.checks import DamagedFileError, UsageError
from vaelab.data.readers import names_in_npz, read_npz
from vaelab.runs.experiment import Experiment
from vaelab.runs.files import read_typed, write_json
from vaelab.storage import writing
from vaelab.training.checkpoint_reading import Checkpoints, open_checkpoints
from vaelab.training.hooks import Metrics
from vaelab.training.state import TrainState

UNLOGGED = "unlogged.npz"


def can_continue(experiment: Experiment, steps_before: int) -> Callable[[int], bool]:
    """True for a step at which the experiment, once `steps_before` steps long, can continue.

    The shorter run saves a checkpoint at its end. If that step is no multiple of evaluate_every, the longer
    run cannot continue from it, because only one of the two validates there.
    """
    every, shorter = experiment.evaluate_every, min(steps_before, experiment.num_steps)
    if experiment.num_steps == steps_before:
        return lambda step: True
    return lambda step: step % every == 0 or step < shorter


class TrainingFiles:
    """`checkpoints/` and `seconds.json` of a folder."""

    def __init__(self, folder: epath.Path):
        self._folder = folder
        self._open: Checkpoints | None = None
        self._seconds_before = 0.0
        self._start: float | None = None  # of the training here

    def restore(
        self, like: TrainState, experiment: Experiment, steps_before: int
    ) -> TrainState | None:
        """The newest state, None if there is none. `steps_before` is the length that was recorded.

        Raises:
          UsageError: more steps were made than the experiment has.
        """
        if self.newest > experiment.num_steps:
            raise UsageError(
                f"workdir {self._folder} holds a run of {self.newest} steps, more than num_steps = "
                f"{experiment.num_steps}: choose another workdir."
            )
        return self._checkpoints().restore(like, can_continue(experiment, steps_before))

    def keep_unlogged(self, step: int, metrics: Metrics) -> None:
        """Keeps the metrics of the steps since the last row of a state that is about to be saved."""
        arrays: dict[str, Any] = {f"metrics/{name}": value for name, value in metrics.items()}
        with writing(self._folder / UNLOGGED, "wb") as file:
            np.savez(file, **arrays, step=step)

    def unlogged(self, step: int) -> Metrics:
        """Those metrics up to this step. Nothing if the file is damaged: the next row lacks them.

        The file may be of a later step, whose checkpoint was not completed.
        """
        path = self._folder / UNLOGGED
        if not path.exists():
            return {}
        try:
            arrays = read_npz(path, names_in_npz(path))
            later = int(arrays.pop("step")) - step
            num_steps = arrays["metrics/loss"].shape[-1]
            if not 0 <= later < num_steps or {a.shape[-1] for a in arrays.values()} != {num_steps}:
                return {}
        except (DamagedFileError, KeyError, TypeError, ValueError, IndexError):
            return {}
        return {
            name.removeprefix("metrics/"): array[..., : num_steps - later]
            for name, array in arrays.items()
        }

    def set_aside_after(self, step: int) -> bool:
        """Moves the checkpoints after this step, such as a shorter run's last one, to checkpoints/before.

        True if there are any.
        """
        # No process moves a checkpoint before all have listed them.
        there = processes.any_of((self._folder / "checkpoints").exists())
        later = there and processes.any_of(self.newest > step)
        if later:
            self._checkpoints().set_aside_after(step)
        return later

    def forget_before(self) -> None:
        """Deletes what only an unfinished run needs: checkpoints that were set aside, unlogged metrics."""
        if processes.is_primary():
            (self._folder / UNLOGGED).unlink(missing_ok=True)
        if (self._folder / "checkpoints").exists():
            self._checkpoints().forget_before()

    def start_training(self) -> None:
        """Starts the clock."""
        self._seconds_before, self._start = self.seconds, time.monotonic()

    def save(self, state: TrainState) -> None:
        """Writes a checkpoint in the background, unless this step has one."""
        checkpoints = self._checkpoints()
        with processes.agreeing_on_errors():  # a save that failed in one process ends all of them
            checkpoints.wait()
        if int(state.step) not in checkpoints.steps():
            checkpoints.save(state)
        if self._start is not None:
            seconds = self._seconds_before + time.monotonic() - self._start
            write_json(self._folder / "seconds.json", seconds)

    @property
    def newest(self) -> int:
        """Step of the newest checkpoint. 0 if there is none."""
        return max(self._checkpoints().steps(), default=0)

    @property
    def seconds(self) -> float:
        """Seconds of training until the last checkpoint, over all interruptions."""
        path = self._folder / "seconds.json"
        return read_typed(float, path) if path.exists() else 0.0

    def close(self) -> None:
        """Returns when everything is on disk."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _checkpoints(self) -> Checkpoints:
        if self._open is None:
            self._open = open_checkpoints(self._folder / "checkpoints")
        return self._open
