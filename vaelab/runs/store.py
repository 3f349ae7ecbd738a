"""Where a run is kept while it trains. The base class keeps nothing: training in memory."""

from __future__ import annotations

from vaelab.runs.history import History
from vaelab.runs.programs import Program
from vaelab.training.hooks import Hook, Metrics
from vaelab.training.state import TrainState


class Store(Hook):
    """Keeps the states and metrics of a program. As a hook it receives them while the program trains."""

    place: str = ""
    """Where the files are, for the user. Empty if there are none."""

    def check(self, program: Program, started_from: str | None) -> None:
        """Raises one sentence if another program is kept here.

        Raises:
          UsageError: the fields that differ, and the remedy.
        """

    def restore(self, like: TrainState, program: Program) -> TrainState | None:
        """The newest state, of the shapes `like`. None if there is none."""
        del like, program
        return None

    def histories(self, step: int) -> list[History]:
        """The logged metrics of each member up to the step of a restored state."""
        del step
        return []  # nothing is restored

    def unlogged(self, step: int) -> Metrics:
        """What `on_unlogged` received at the step of a restored state."""
        del step
        return {}

    def close(self) -> None:
        """Returns when everything is on disk."""

    def set_aside_after(self, step: int) -> bool:
        """Sets aside the states after this step. Before `claim`: a crash between them loses nothing.

        True if there are any: a shorter run ended between two validations.
        """
        del step
        return False

    def claim(self, program: Program, source: str | None, started_from: str | None) -> None:
        """Records the program, before its first step."""

    def start_training(self, step: int, histories: list[History]) -> None:
        """Opens the logs. They start with these metrics, up to `step`."""

    def adopt(self, state: TrainState, histories: list[History]) -> None:
        """Keeps a finished state that was trained elsewhere."""
