"""The hooks of a training of one process or of several."""

from __future__ import annotations

from collections.abc import Callable

from vaelab import processes
from vaelab.training.hooks import Hook, Metrics
from vaelab.training.state import TrainState


class SharedHooks(Hook):
    """Calls hooks. An interruption, or the error of a hook, in one process ends training in all of them."""

    def __init__(self, hooks: tuple[Hook, ...], stop: Callable[[], int]):
        self.hooks, self._stop = hooks, stop
        self._error: Exception | None = None
        self._agreement, self._of_numbers = processes.Agreement(), processes.Agreement()

    def interrupted(self) -> int:
        """What the largest answer of `stop` in any process is: not 0 if one is interrupted.

        Raises:
          Exception: of a hook in this process; the sentence of a hook in another process.
        """
        stopped, failed = self._agreement(self._stop(), self._error is not None)
        if failed:
            self.raise_error()
        return stopped

    def fewest(self, number: int) -> int:
        """The smallest number of any process, above 0. At the first call it is that of this process."""
        (least,) = self._of_numbers(-number)
        return -least or number

    def raise_error(self) -> None:
        """Raises the error of a hook, in all processes."""
        processes.raise_in_all(self._error)

    def on_metrics(self, step: int, metrics: Metrics) -> None:
        self._call(lambda hook: hook.on_metrics(step, metrics))

    def on_unlogged(self, step: int, metrics: Metrics) -> None:
        self._call(lambda hook: hook.on_unlogged(step, metrics))

    def on_checkpoint(self, state: TrainState) -> None:
        self._call(lambda hook: hook.on_checkpoint(state))

    def _call(self, call: Callable[[Hook], None]) -> None:
        for hook in self.hooks:
            try:
                call(hook)
            except Exception as error:
                if processes.count() == 1:
                    raise
                self._error = self._error or error
