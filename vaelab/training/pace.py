"""How many steps one dispatch makes: few enough that training can be interrupted soon."""

from __future__ import annotations

import collections
import time
from typing import Any

import jax

LONGEST = 5.0  # seconds of a dispatch; two wait on the device at most
MOST_STEPS = 1_000_000  # steps of a dispatch
FIRST_STEPS = 4  # steps of a dispatch while the time of a step is unknown


class Pace:
    """Measures the time of a step, and waits until at most one dispatch before the newest is unfinished.

    The number of steps of a dispatch changes no number: order and noise depend on the step alone.
    """

    def __init__(self) -> None:
        self._running: collections.deque[tuple[int, float, Any]] = collections.deque()
        self._seconds: float | None = None  # of a step
        self._measured = 0  # number of dispatches; the first may contain the compilation
        self._free = 0.0  # when the device finished the latest of them

    @property
    def limit(self) -> int:
        """Largest number of steps of the next dispatch."""
        if self._seconds is None:
            return FIRST_STEPS
        return max(1, int(min(LONGEST / max(self._seconds, 1e-9), MOST_STEPS)))

    def dispatched(self, num_steps: int, metrics: Any) -> None:
        """Receives a dispatch that was just made."""
        self._running.append((num_steps, time.monotonic(), metrics))
        while len(self._running) > (1 if self._measured >= 2 else 0):
            steps, since, waited_for = self._running.popleft()
            jax.block_until_ready(waited_for)
            now = time.monotonic()
            self._seconds = (now - max(since, self._free)) / steps
            self._measured, self._free = self._measured + 1, now
