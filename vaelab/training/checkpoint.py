"""Checkpoints of the whole train state."""

from __future__ import annotations

import contextlib
import errno
import os
import warnings

import jax
import orbax.checkpoint as ocp
from etils import epath

from vaelab.training.state import TrainState


class Checkpoints:
    """The checkpoints of one run, newest last; a half-written or unreadable one does no harm.

    A checkpoint appears under its final name only when it is complete, so a run killed at any
    moment finds the one before. It restores bit for bit, onto the shardings of the state given.
    """

    def __init__(self, directory: epath.PathLike, *, max_to_keep: int = 3):
        self.directory = epath.Path(directory)
        options = ocp.CheckpointManagerOptions(max_to_keep=max_to_keep, create=True)
        self._manager = ocp.CheckpointManager(self.directory.resolve(), options=options)

    def save(self, state: TrainState) -> None:
        """Writes the state in the background; a failure is raised here or at the next call."""
        with _disk_errors():
            self._manager.save(int(state.step), args=ocp.args.StandardSave(state))

    def wait(self) -> None:
        """Returns when everything saved is on disk."""
        with _disk_errors():
            self._manager.wait_until_finished()

    def close(self) -> None:
        self._manager.close()

    def steps(self) -> list[int]:
        """Steps of the checkpoints that are there, oldest first."""
        return sorted(self._manager.all_steps())

    def restore(self, like: TrainState) -> TrainState | None:
        """The newest readable state, or None where there is none at all.

        A checkpoint that cannot be read (truncated, say) is set aside in `unreadable/` with a
        warning, and the one before it is taken.
        """
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        for step in reversed(self.steps()):
            try:
                state = self._manager.restore(step, args=ocp.args.StandardRestore(abstract))
                if jax.tree.structure(state) != jax.tree.structure(like):  # of an empty folder
                    raise ValueError("it holds no train state")
                return state
            except Exception as error:  # orbax and tensorstore raise many kinds
                aside = self._set_aside(step)
                self._manager.reload()
                warnings.warn(
                    f"checkpoint {step} cannot be read ({type(error).__name__}); it was moved to "
                    f"{aside} and the one before it is used.",
                    stacklevel=2,
                )
        return None

    def _set_aside(self, step: int) -> epath.Path:
        folder = self.directory / "unreadable"
        folder.mkdir(exist_ok=True)
        aside, copies = folder / str(step), 1
        while aside.exists():
            copies += 1
            aside = folder / f"{step}-{copies}"
        (self.directory / str(step)).rename(aside)
        return aside


@contextlib.contextmanager
def _disk_errors():
    """A full disk as the OSError it is; tensorstore raises it as a ValueError."""
    try:
        yield
    except ValueError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
