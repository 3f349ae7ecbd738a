"""Windows of batches that threads of grain read ahead."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator
from typing import Any

from vaelab.checks import MissingPackageError, UsageError
from vaelab.training.sources import Window
from vaelab.types import Examples

_THREADS = 16  # threads that read


class ReadAhead:
    """An iterator over (first step, number of steps, window). It reads one window ahead.

    Args:
      read: the batch of a step. Several threads call it.
      window: (first step, batches) -> window. One thread calls it.
      steps: (first step, number of steps) of each window, one after the other.
      first_step, num_steps: where the first window begins, and the last one ends.
      capacity: largest number of steps of a window.
    """

    def __init__(
        self,
        read: Callable[[int], Examples],
        window: Callable[[int, list[Examples]], Window],
        steps: Iterator[tuple[int, int]],
        *,
        first_step: int,
        num_steps: int,
        capacity: int,
    ):
        grain = import_grain()
        self._ended = threading.Event()
        batches = grain.MapDataset.source(_Batches(num_steps, read))[first_step:]
        options = grain.ReadOptions(_THREADS, prefetch_buffer_size=max(_THREADS, capacity))
        self._batches = iter(batches.to_iter_dataset(options))
        windows = _Assembled(self._batches, steps, window, self._ended)
        self._windows = grain.experimental.ThreadPrefetchDatasetIterator(windows, 1)

    def __next__(self) -> tuple[int, int, Window]:
        """The next window.

        Raises:
          UsageError: what `read` raised.
        """
        try:
            return next(self._windows)
        except UsageError as error:
            vars(error).pop("__notes__", None)  # grain's, about its own frames
            raise

    def close(self) -> None:
        """Ends the threads."""
        self._ended.set()
        self._windows.close()
        self._batches.close()


@dataclasses.dataclass(frozen=True)
class _Batches:
    """What grain reads in its threads: the batch of each step."""

    num_steps: int
    read: Callable[[int], Examples]

    def __len__(self) -> int:
        return self.num_steps

    def __getitem__(self, step: Any) -> Examples:
        return self.read(int(step))


class _Assembled:
    """An iterator over windows of successive batches, as grain's thread calls it."""

    def __init__(
        self,
        batches: Iterator[Examples],
        steps: Iterator[tuple[int, int]],
        window: Callable[[int, list[Examples]], Window],
        ended: threading.Event,
    ):
        self._batches, self._steps, self._window, self._ended = batches, steps, window, ended

    def __next__(self) -> tuple[int, int, Window]:
        first, num_steps = next(self._steps)
        batches = []
        for _ in range(num_steps):
            if self._ended.is_set():
                raise StopIteration
            batches.append(next(self._batches))
        return first, num_steps, self._window(first, batches)

    def get_state(self) -> dict[str, int]:
        return {}  # the position is the step, which the train state holds

    def set_state(self, state: dict[str, int]) -> None:
        """Changes nothing: a new iterator starts at the step."""


def import_grain() -> Any:
    """The module grain.

    Raises:
      MissingPackageError: it is not installed.
    """
    try:
        import grain
    except ModuleNotFoundError as error:
        raise MissingPackageError.of(error, "Streaming") from error
    return grain
