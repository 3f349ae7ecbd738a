"""A stretch of training in a workdir: from its newest checkpoint, until it ends or is interrupted."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from etils import epath

from vaelab.runs import display, workdir
from vaelab.training.checkpoint import Checkpoints
from vaelab.training.state import TrainState


class Session(NamedTuple):
    """What training starts from, and whom it tells."""

    state: TrainState
    progress: display.TrainingProgress
    save: Callable[[TrainState], None]  # a checkpoint, and the time so far


@contextlib.contextmanager
def session(folder: epath.Path, what: str, state: TrainState, num_steps: int) -> Iterator[Session]:
    """From the newest checkpoint where there is one, else from the fresh state; `what` is for the user."""
    checkpoints = Checkpoints(folder / "checkpoints")
    with contextlib.closing(checkpoints):
        restored = checkpoints.restore(state)
        if restored is None:
            print(f"training {what} in {folder}")
        else:
            state = restored
            print(f"resuming {folder} from step {int(state.step)}")
        stopwatch = workdir.Stopwatch(folder)

        def save(state: TrainState) -> None:
            checkpoints.save(state)
            stopwatch.save()

        with display.TrainingProgress(num_steps, int(state.step)) as progress:
            yield Session(state, progress, save)
