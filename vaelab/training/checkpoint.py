"""Checkpoints of the whole train state."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import warnings
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from vaelab.checks import UsageError
from vaelab.training.state import TrainState
from vaelab.untrusted import check_memory


class Checkpoints:
    """The checkpoints of one run, newest last; a half-written or unreadable one does no harm.

    A checkpoint appears under its final name only when it is complete, so a run killed at any
    moment finds the one before. It restores bit for bit, onto the shardings of the state given.
    """

    def __init__(self, directory: epath.PathLike, *, max_to_keep: int = 3):
        self.directory = epath.Path(directory)
        options = ocp.CheckpointManagerOptions(max_to_keep=max_to_keep, create=True)
        # Without a handler given, one empty folder of a step makes every checkpoint unreadable.
        self._manager = ocp.CheckpointManager(
            self.directory.resolve(), options=options, item_handlers=ocp.StandardCheckpointHandler()
        )

    def save(self, state: TrainState) -> None:
        """Writes the state in the background; a failure is raised here or at the next call."""
        with _disk_errors():
            self._manager.save(int(state.step), args=ocp.args.StandardSave(state))

    def wait(self) -> None:
        """Returns when everything saved is on disk."""
        with _disk_errors():
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Returns when everything saved is on disk."""
        with _disk_errors():
            self._manager.close()

    def steps(self) -> list[int]:
        """Steps of the checkpoints that are there, oldest first."""
        return sorted(self._manager.all_steps())

    def set_aside_after(self, step: int) -> None:
        """Moves the checkpoints of later steps to `before/`, where `forget_before` deletes them.

        Orbax saves no step before its newest checkpoint.
        """
        later = [each for each in self.steps() if each > step]
        if later:
            self.wait()  # a checkpoint that is being written cannot be moved
        for each in later:
            self._set_aside(each, "before")
        if later:
            self._manager.reload()

    def forget_before(self) -> None:
        """Deletes what `set_aside_after` moved."""
        folder = self.directory / "before"
        if folder.exists():
            folder.rmtree()

    def restore(
        self, like: TrainState, usable: Callable[[int], bool] = lambda step: True
    ) -> TrainState | None:
        """The newest readable state of a usable step, or None if there is none.

        A checkpoint that cannot be read (truncated, say) is set aside in `unreadable/` with a
        warning, and the one before it is taken. `like` holds arrays, or their shapes with shardings.

        Raises:
          UsageError: there are checkpoints, and none can be read; they are left where they are.
        """
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        steps = [step for step in self.steps()[::-1] if usable(step)]
        failed = dict[int, Exception]()
        for step in steps:
            try:
                self.check_size(step)
                state = self._manager.restore(step, args=ocp.args.StandardRestore(abstract))
                # An empty folder restores as nothing.
                if jax.tree.structure(state) != jax.tree.structure(like):  # type: ignore[operator]
                    raise UsageError("it holds no train state")
            except Exception as error:  # orbax and tensorstore raise many kinds
                failed[step] = error
                continue
            for unreadable, reason in failed.items():
                aside = self._set_aside(unreadable, "unreadable")
                warnings.warn(
                    f"checkpoint {unreadable} cannot be read ({type(reason).__name__}); it was moved "
                    f"to {aside} and checkpoint {step} is used.",
                    stacklevel=2,
                )
            self._manager.reload()
            return state
        if failed:
            raise UsageError(
                f"none of the checkpoints {sorted(failed)} in {self.directory} can be read: they are "
                "damaged, or of another version or configuration (a sweep's, say); choose another "
                "workdir."
            ) from failed[steps[0]]
        return None

    def check_size(self, step: int) -> None:
        """Raises a ValueError unless the arrays that the metadata of a step describe fit into memory."""
        leaves = jax.tree.leaves(self._manager.item_metadata(step).tree)
        arrays = [leaf for leaf in leaves if isinstance(leaf, ocp.metadata.ArrayMetadata)]
        check_memory(sum(map(_num_bytes, arrays)))

    def _set_aside(self, step: int, name: str) -> epath.Path:
        folder = self.directory / name
        folder.mkdir(exist_ok=True)
        aside, copies = folder / str(step), 1
        while aside.exists():
            copies += 1
            aside = folder / f"{step}-{copies}"
        (self.directory / str(step)).rename(aside)
        return aside


def _num_bytes(array: ocp.metadata.ArrayMetadata) -> int:
    """The bytes of an array, or of one of its chunks if that is larger."""
    chunk = array.storage.chunk_shape if array.storage else None
    sizes = [math.prod(shape) for shape in (array.shape, chunk) if shape is not None]
    return max(sizes) * np.dtype(array.dtype).itemsize


@contextlib.contextmanager
def _disk_errors():
    """A full disk as the OSError it is; tensorstore raises it as a ValueError."""
    try:
        yield
    except ValueError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error


def read_raw(directory: epath.PathLike, step: int | None = None) -> dict[str, Any]:
    """The newest readable train state as nested dicts of arrays, without its types: no data are needed.

    Raises:
      UsageError: there is no checkpoint, or none can be read.
    """
    none = UsageError(
        f"{directory} holds no checkpoint that can be read: train the run further, or choose another."
    )
    if not epath.Path(directory).is_dir():  # it would be made
        raise none
    checkpoints = Checkpoints(directory)
    with contextlib.closing(checkpoints):
        steps = [each for each in checkpoints.steps()[::-1] if step is None or each == step]
        for each in steps:
            try:
                checkpoints.check_size(each)
                state = checkpoints._manager.restore(each, args=ocp.args.StandardRestore())
                if isinstance(state, dict) and "variables" in state:
                    return state
            except Exception:  # orbax and tensorstore raise many kinds
                warnings.warn(f"checkpoint {each} of {directory} cannot be read.", stacklevel=2)
    raise none
