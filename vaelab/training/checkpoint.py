"""Checkpoints of the whole train state."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import warnings
import zlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from vaelab import processes
from vaelab.checks import UsageError, out_of_memory
from vaelab.storage import UnreachableError
from vaelab.training.state import TrainState
from vaelab.types import PyTree
from vaelab.untrusted import check_size, reason_of

METADATA = "_CHECKPOINT_METADATA"  # orbax's file of a checkpoint, which holds the checksums


class Checkpoints:
    """The checkpoints of one run in a folder, newest last. Incomplete and unreadable checkpoints are ignored.

    A checkpoint appears under its final name only when it is complete, so a run killed at any
    moment finds the one before. It restores bit for bit, onto the shardings of the state given. A
    checksum of each array is kept with it: a damaged array is an unreadable checkpoint.
    """

    def __init__(self, directory: epath.PathLike, *, max_to_keep: int = 3, shared: bool = True):
        """`shared`: all processes save and restore together. Otherwise this process does, by itself.

        Raises:
          UsageError: the metadata of a checkpoint cannot be read.
        """
        self.directory = epath.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        own = jax.process_index()
        of_processes = (
            ocp.options.MultiprocessingOptions()
            if shared
            else ocp.options.MultiprocessingOptions(own, {own}, f"process-{own}")
        )
        options = ocp.CheckpointManagerOptions(
            max_to_keep=max_to_keep, create=shared, multiprocessing_options=of_processes
        )
        # Without a handler given, one empty folder of a step makes every checkpoint unreadable.
        try:
            self._manager = ocp.CheckpointManager(
                self.directory.resolve(),
                options=options,
                item_handlers=ocp.StandardCheckpointHandler(multiprocessing_options=of_processes),
            )
        except (ValueError, RecursionError) as error:  # of the JSON in _CHECKPOINT_METADATA
            raise UsageError(
                f"a checkpoint in {self.directory} is damaged ({reason_of(error)}): remove its folder, or choose "
                "another workdir."
            ) from error

    def save(self, state: TrainState) -> None:
        """Writes the state in the background; a failure is raised here or at the next call."""
        self._write(with_key_data(state), str(jax.random.key_impl(state.key)))

    def _write(self, state: TrainState, generator: str) -> None:
        with _disk_errors():
            self._manager.save(
                int(state.step),
                args=ocp.args.StandardSave(state),
                custom_metadata={"checksums": checksums(state), "generator": generator},
            )

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
        # No process moves a checkpoint before all have listed them.
        if processes.any_of(bool(later)):
            self.wait()  # a checkpoint that is being written cannot be moved
            for each in later:
                self._set_aside(each, "before")
            processes.barrier()
            self._manager.reload()

    def forget_before(self) -> None:
        """Deletes what `set_aside_after` moved."""
        folder = self.directory / "before"
        if processes.is_primary() and folder.exists():
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
        steps = [step for step in self.steps()[::-1] if usable(step)]
        failed = dict[int, Exception]()
        for step in steps:
            unread: Exception | None = None
            try:
                state = self.read(step, like)
            except UnreachableError:
                raise
            except Exception as error:  # orbax and tensorstore raise many kinds
                full = isinstance(error, OSError) and error.errno == errno.ENOSPC
                if full or out_of_memory(error):
                    raise
                unread = error
            if processes.any_of(unread is not None):
                failed[step] = unread or UsageError("another process cannot read it")
                continue
            for unreadable, reason in failed.items():
                aside = self._set_aside(unreadable, "unreadable")
                warnings.warn(
                    f"checkpoint {unreadable} cannot be read ({type(reason).__name__}); it was moved "
                    f"to {aside} and checkpoint {step} is used.",
                    stacklevel=2,
                )
            processes.barrier()
            self._manager.reload()  # without those that were set aside
            return state
        if failed:
            raise UsageError(
                f"none of the checkpoints {sorted(failed)} in {self.directory} can be read: they are "
                "damaged, or of another version or configuration (a sweep's, say); choose another "
                "workdir."
            ) from failed[steps[0]]
        return None

    def read(self, step: int, like: TrainState | None = None) -> Any:
        """The state of one step; nested dicts of arrays without `like`, the key as its data.

        Errors are of many kinds.
        """
        self._check_size(step, like)
        kept = self._manager.metadata(step).custom_metadata
        if kept is None:
            raise UsageError(f"it has no {METADATA}")
        abstract = (
            on_one_device(self._manager.item_metadata(step).tree)
            if like is None
            else jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        )
        if like is not None:
            one = jax.eval_shape(
                lambda: jax.random.key_data(jax.random.key(0, impl=kept["generator"]))
            )
            data = jax.ShapeDtypeStruct(
                like.key.shape + one.shape, one.dtype, sharding=like.key.sharding
            )
            abstract = abstract._replace(key=data)
        state = self._manager.restore(step, args=ocp.args.StandardRestore(abstract))
        # An empty folder restores as nothing.
        structure = jax.tree.structure
        if like is not None and structure(state) != structure(abstract):  # type: ignore[operator]
            raise UsageError("it holds no train state")
        # Checkpoints of before have no checksums. Their parameters are loaded, and their runs do not continue.
        written = kept.get("checksums", {}) if like is None else kept["checksums"]
        found = checksums(state) if written else {}
        if any(found.get(name, each) != each for name, each in written.items()):
            raise UsageError("its arrays are not those that were written")
        if like is None:
            return state
        return state._replace(key=jax.random.wrap_key_data(state.key, impl=kept["generator"]))

    def _check_size(self, step: int, like: TrainState | None) -> None:
        """Raises a ValueError unless the arrays that the metadata describe are as large as `like`, or fit into memory."""
        leaves = jax.tree.leaves(self._manager.item_metadata(step).tree)
        arrays = [leaf for leaf in leaves if isinstance(leaf, ocp.metadata.ArrayMetadata)]
        total = sum(map(_num_bytes, arrays))
        if like is None:
            check_size(total)
            return
        expected = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(like))
        if total > 2 * expected + 2**20:
            raise ValueError("its arrays are larger than those of the model")

    def _set_aside(self, step: int, name: str) -> epath.Path:
        folder = self.directory / name
        if not processes.is_primary():
            return folder / str(step)
        aside, copies = folder / str(step), 1
        while aside.exists():
            copies += 1
            aside = folder / f"{step}-{copies}"
        self._move(step, aside)
        return aside

    def _move(self, step: int, target: epath.Path) -> None:
        target.parent.mkdir(exist_ok=True)
        (self.directory / str(step)).rename(target)


def _num_bytes(array: ocp.metadata.ArrayMetadata) -> int:
    """The bytes of an array, or of one of its chunks if that is larger."""
    chunk = array.storage.chunk_shape if array.storage else None
    sizes = [math.prod(shape) for shape in (array.shape, chunk) if shape is not None]
    return max(sizes) * np.dtype(array.dtype).itemsize


@contextlib.contextmanager
def _disk_errors():
    """A full disk, quota or file as the OSError it is; tensorstore raises it as a ValueError."""
    try:
        yield
    except ValueError as error:
        codes = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
        found = [code for code in codes if os.strerror(code) in str(error)]
        if not found and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        code = found[0] if found else errno.ENOSPC
        raise OSError(code, os.strerror(code)) from error


def with_key_data(state: TrainState) -> TrainState:
    """The state with the data of its key, as checkpoints hold it."""
    return state._replace(key=jax.random.key_data(state.key))


def on_one_device(metadata: Any) -> Any:
    """The arrays that the metadata of a step describe, on one device: they were written on others."""
    place = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), metadata
    )


def checksums(tree: PyTree) -> dict[str, str]:
    """A checksum of each array of a tree by its path: type, shape and content.

    An array of which this process holds only a part has none.
    """
    found = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if isinstance(leaf, jax.Array):
            if not (leaf.is_fully_addressable or leaf.is_fully_replicated):
                continue
            leaf = leaf.addressable_data(0) if leaf.is_fully_replicated else leaf
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        content = np.ascontiguousarray(leaf).view(np.uint8)
        found[name] = f"{leaf.dtype}{list(leaf.shape)}{zlib.crc32(content.data):08x}"
    return found
