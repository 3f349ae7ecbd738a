"""The feed that reads the batches of the next steps while the present steps run."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from vaelab import processes
from vaelab.checks import check_values
from vaelab.streams import Stream, with_float_x
from vaelab.training import bytes_as_floats, memory
from vaelab.training.feeds import Feed
from vaelab.training.orders import Order
from vaelab.training.read_ahead import ReadAhead, import_grain
from vaelab.training.samplers import Sampler
from vaelab.training.sources import Source, Window
from vaelab.training.timetable import Timetable
from vaelab.types import Array, Examples

_WINDOW = 2**28  # largest number of bytes of a window's x, as float32


class Windows(Feed):
    """The training set streamed from its files, in the same batches as from memory.

    Threads read the batches of the next steps, and put them on the devices while the present steps run. The
    devices hold at most three windows: the one in use, and the next two, whose bytes are not converted yet.
    The position of the stream is the step, which the state holds. Each process reads only the rows of its own
    devices. x is checked when it is read.

    Args:
      stream: the training set.
      sampler: its order.
      seeds: [S] different seeds, whose keys draw the orders.
      which: the place of the run's seed; of members [M].
      batch_size: examples of a step, over all devices.
      timetable: the stops between which steps are dispatched.
      mesh: the batch is split over its axis `data`.
      data_range: smallest and largest x that the likelihood allows.

    Raises:
      MissingPackageError: grain is not installed.

    >>> from vaelab.streams import ArrayStream
    >>> from vaelab.training import Uniform
    >>> from vaelab.training.sharding import make_mesh
    >>> feed = Windows(
    ...     ArrayStream(Examples(np.uint8([[0], [51], [255]]))), sampler=Uniform(), batch_size=1,
    ...     seeds=np.array([0]), which=np.array(0), timetable=Timetable(4, 2, 4),
    ...     mesh=make_mesh(devices=jax.devices()[:1]),
    ... )
    >>> with feed:
    ...     parts = [(window.examples.x.shape, steps) for window, steps in feed.parts(0, 4)]
    >>> parts  # [S, T, B, ...]
    [((1, 2, 1, 1), 2), ((1, 2, 1, 1), 2)]
    """

    def __init__(
        self, stream: Stream, *, sampler: Sampler, seeds: np.ndarray, which: np.ndarray,
        batch_size: int, timetable: Timetable, mesh: Mesh,
        data_range: tuple[float, float] = (-math.inf, math.inf),
    ):  # fmt: skip
        import_grain()  # raises before anything is read
        self._stream, self._timetable, self._batch_size = stream, timetable, batch_size
        self._range, self._which, self._mesh = data_range, np.asarray(which, np.int32), mesh
        self._num_seeds = len(seeds)
        step_bytes = len(seeds) * batch_size * 4 * stream.first.x.size
        longest = timetable.longest_dispatch
        num_windows = math.ceil(longest * step_bytes / _WINDOW)
        self.capacity = math.ceil(longest / num_windows)
        self._order = Order(sampler, stream, seeds, batch_size)
        self._sharding = NamedSharding(mesh, PartitionSpec(None, None, "data"))
        self._decode = jax.jit(bytes_as_floats.with_float_x, out_shardings=self._sharding)
        self._local = _local_part(self._sharding, batch_size)
        self._ahead: ReadAhead | None = None
        self._current: Any = None
        self._current_end = -1  # the step after the current window

    @property
    def shapes(self) -> Window:
        whole = NamedSharding(self._mesh, PartitionSpec())
        examples = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(self._shape(leaf), leaf.dtype),
            with_float_x(self._stream.first),
        )
        return Window(
            memory.placed(examples, self._sharding),
            memory.placed(np.zeros([], np.int32), whole),
            memory.placed(self._which, NamedSharding(self._mesh, self._which_spec)),
        )

    def parts(self, step: int, num_steps: int) -> Iterator[tuple[Source, int]]:
        end = step + num_steps
        while step < end:
            if self._ahead is None or step == self._current_end:
                self._next_window(step)
            steps = min(end, self._current_end) - step
            yield self._current, steps
            step += steps

    def _next_window(self, step: int) -> None:
        """Makes the window that begins with this step the current one."""
        if self._ahead is None:
            self._ahead = ReadAhead(
                self._read, self._window, self._steps_of_windows(step), first_step=step,
                num_steps=self._timetable.num_steps, capacity=self.capacity,
            )  # fmt: skip
        with processes.agreeing_on_errors():  # what one process cannot read ends all of them
            first, steps, window = next(self._ahead)
        assert first == step, f"the window of step {first} comes at step {step}"
        if window.examples.x.dtype == np.uint8:
            # Threads must not do this: all processes must start their programs in the same order.
            window = dataclasses.replace(window, examples=self._decode(window.examples))
        self._current, self._current_end = window, step + steps

    def __exit__(self, *error: object) -> None:
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = self._current = None
        self._order.close()

    def _steps_of_windows(self, step: int) -> Iterator[tuple[int, int]]:
        """(first step, number of steps) of each window from `step` to the end."""
        while step < self._timetable.num_steps:
            stop = self._timetable.next_stop(step)
            while step < stop:
                steps = min(self.capacity, stop - step)
                yield step, steps
                step += steps

    def _read(self, step: int) -> Examples:
        """This process's part of the batch of a step, [S, b, ...]."""
        rows = self._order.rows(step)[:, self._local]
        with jax.profiler.TraceAnnotation("read batch"):
            batch = self._stream.rows(rows.ravel())
        if batch.x.dtype != np.uint8:
            self._check(batch.x, rows.ravel())
        return jax.tree.map(lambda leaf: leaf.reshape(*rows.shape, *leaf.shape[1:]), batch)

    def _check(self, x: np.ndarray, rows: np.ndarray) -> None:
        low, high = self._range
        smallest, largest = x.min(), x.max()  # NaN if one value is NaN
        if low <= smallest and largest <= high and np.isfinite([smallest, largest]).all():
            return
        for row, one in zip(rows, x, strict=True):
            check_values(f"train.x[{row}:{row + 1}]", one[None], low, high)

    def _window(self, first: int, batches: list[Examples]) -> Window:
        """The batches of successive steps on the devices."""

        def placed(*leaves: np.ndarray) -> Array:
            local = np.zeros((len(leaves[0]), self.capacity, *leaves[0].shape[1:]), leaves[0].dtype)
            for place, leaf in enumerate(leaves):
                local[:, place] = leaf

            def part(index: Any) -> np.ndarray:
                start, stop, _ = index[2].indices(self._batch_size)
                return local[:, :, start - self._local.start : stop - self._local.start]

            return jax.make_array_from_callback(self._shape(leaves[0][0]), self._sharding, part)

        examples = jax.tree.map(placed, *batches)
        return Window(examples, self._placed(np.asarray(first, np.int32), PartitionSpec()),
                      self._placed(self._which, self._which_spec))  # fmt: skip

    @property
    def _which_spec(self) -> PartitionSpec:
        return PartitionSpec("sweep") if self._which.ndim else PartitionSpec()

    def _placed(self, value: np.ndarray, spec: PartitionSpec) -> Array:
        def part(index: Any) -> np.ndarray:
            return value[index]

        return jax.make_array_from_callback(value.shape, NamedSharding(self._mesh, spec), part)

    def _shape(self, leaf: Any) -> tuple[int, ...]:
        return (self._num_seeds, self.capacity, self._batch_size, *leaf.shape[1:])


def _local_part(sharding: NamedSharding, batch_size: int) -> slice:
    """The rows of a batch that the devices of this process hold."""
    indices: Any = sharding.addressable_devices_indices_map((1, 1, batch_size)).values()
    ends = [index[2].indices(batch_size)[:2] for index in indices]
    return slice(min(start for start, _ in ends), max(stop for _, stop in ends))
