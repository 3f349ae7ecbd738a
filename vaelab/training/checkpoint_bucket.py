"""Checkpoints in a bucket: written into a folder of this machine, then copied file by file."""

from __future__ import annotations

import contextlib
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
from etils import epath

from vaelab import processes, storage
from vaelab.training import sharding
from vaelab.training.checkpoint import METADATA, Checkpoints, on_one_device, with_key_data
from vaelab.training.state import TrainState


class RemoteCheckpoints(Checkpoints):
    """The checkpoints of one run in a bucket, which has neither folders nor a rename.

    The bucket holds the files that a folder would hold. A checkpoint counts once its file METADATA is there,
    which is copied last and removed first. So a run killed at any moment finds the checkpoint before.

    Of several processes the primary writes the whole state, and every process reads the whole state.
    """

    def __init__(self, directory: epath.PathLike, *, max_to_keep: int = 3):
        self._here = tempfile.TemporaryDirectory(prefix="vaelab-checkpoints-")
        super().__init__(epath.Path(self._here.name) / "written", max_to_keep=1, shared=False)
        self._written, self.directory = self.directory, epath.Path(directory)
        self._max_to_keep = max_to_keep
        self._thread = ThreadPoolExecutor(1)
        self._copy: Future | None = None
        self._copied = set[int]()  # the step of that copy

    def save(self, state: TrainState) -> None:
        generator = str(jax.random.key_impl(state.key))
        state = _whole(with_key_data(state))  # by all processes together
        self.wait()  # the folder holds one checkpoint at a time
        self._copied = {int(state.step)}
        if not processes.is_primary():
            return
        self._write(state, generator)
        self._copy = self._thread.submit(self._copy_to_bucket, int(state.step))

    def wait(self) -> None:
        self._copied = set()
        if self._copy is not None:
            copy, self._copy = self._copy, None
            with storage.reaching(self.directory):
                copy.result()

    def close(self) -> None:
        try:
            self.wait()
        finally:
            self._thread.shutdown()
            super().close()
            self._here.cleanup()

    def steps(self) -> list[int]:
        return sorted(self._complete() | self._copied)

    def read(self, step: int, like: TrainState | None = None) -> Any:
        self.wait()
        with tempfile.TemporaryDirectory(dir=self._here.name) as folder:
            here = epath.Path(folder)
            with storage.reaching(self.directory):
                storage.copy_folder(self.directory / str(step), here / str(step), last=METADATA)
            with contextlib.closing(Checkpoints(here, shared=False)) as checkpoints:
                if like is None or processes.count() == 1:
                    return checkpoints.read(step, like)
                state = checkpoints.read(step, on_one_device(like))
        return sharding.place(state, jax.tree.map(lambda leaf: leaf.sharding, like))

    def _complete(self) -> set[int]:
        folders = list(self.directory.iterdir()) if self.directory.exists() else []
        numbers = [path.name for path in folders if path.name.isdecimal()]
        return {int(n) for n in numbers if (self.directory / n / METADATA).exists()}

    def _copy_to_bucket(self, step: int) -> None:
        super().wait()
        target = self.directory / str(step)
        storage.remove_folder(target, first=METADATA)  # what an interruption left
        storage.copy_folder(self._written / str(step), target, last=METADATA)
        for old in sorted(self._complete())[: -self._max_to_keep]:
            storage.remove_folder(self.directory / str(old), first=METADATA)

    def _move(self, step: int, target: epath.Path) -> None:
        source = self.directory / str(step)
        storage.copy_folder(source, target, last=METADATA)
        storage.remove_folder(source, first=METADATA)


def _whole(state: TrainState) -> TrainState:
    """The state on the host if there are several processes: Orbax saves no arrays of one of them."""
    if processes.count() == 1:
        return state
    return sharding.fetch(state)
