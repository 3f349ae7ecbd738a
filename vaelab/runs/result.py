"""The result of training: a trained model with its data, its history, its report and its plots."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from etils import epath

from vaelab.checks import check_at_least_one
from vaelab.runs import reporting
from vaelab.runs.history import History
from vaelab.runs.report import Report
from vaelab.runs.run import Run
from vaelab.runs.trained import Trained
from vaelab.training.sharding import local
from vaelab.training.state import TrainState

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Result(Trained):
    """What `runs.train` returns. In a notebook a report is a table, and a plot shows itself.

    Each plot returns its matplotlib figure; it draws into axes of your own if you give them.
    """

    run: Run
    """The experiment with its data."""
    state: TrainState
    """Whole state of training, from which training can continue."""
    interrupted: bool = False
    """True if training was interrupted before its end."""

    @property
    def _title(self) -> str:
        return f"{super()._title} on {self.run.experiment.data.title}"

    @property
    def last_step(self) -> int:
        """Number of training steps made."""
        return int(self.state.step)

    def whole_state(self, like: TrainState, usable: Callable[[int], bool]) -> TrainState:
        del like, usable
        return self.state

    def report(self, num_samples: int | None = None) -> Report:
        """The numbers on the test set, with standard errors. Made once for each number of samples.

        Args:
          num_samples: importance samples per test example. None takes the experiment's.
        """
        check_at_least_one(num_samples=num_samples)
        return self._report(self.run.experiment.num_samples if num_samples is None else num_samples)

    @functools.lru_cache(maxsize=8)  # noqa: B019  a result is kept as long as its reports
    def _report(self, num_samples: int) -> Report:
        return reporting.make_report(self.run, self, self.history, self.last_step, num_samples)

    def plot_curves(self, axes: Sequence[Axes] | None = None) -> Figure:
        """ELBO, rate and distortion, constraints and multipliers over the steps."""
        return self._plots.training_curves(self.run, self.history, axes)

    def plot_latents(self, level: int = 0, ax: Axes | None = None) -> Figure:
        """A sample of q(z|x) for each of 2,000 or fewer test examples, and the prior. Level 0 is the top."""
        return self._plots.latent_space(self.run, self, level, ax)

    def plot_reconstructions(self, ax: Axes | None = None) -> Figure:
        """Test images above their reconstructions."""
        return self._plots.reconstructions(self.run, self, ax)

    def plot_samples(self, ax: Axes | None = None) -> Figure:
        """Images decoded from samples of the prior."""
        return self._plots.samples(self.run, self, ax)

    def save(self, folder: epath.PathLike) -> None:
        """Writes configuration, metrics and checkpoint. `runs.load` reads the folder; training can continue there.

        Raises:
          UsageError: the folder holds another run.
        """
        from vaelab.runs.workdir import Workdir

        with Workdir(folder).opened() as workdir:
            workdir.write_result(self)

    @property
    def _plots(self):
        from vaelab.runs import pictures  # needs matplotlib, which training does not

        return pictures


def make_result(
    run: Run,
    state: TrainState,
    history: History,
    *,
    interrupted: bool = False,
    started_from: str | None = None,
) -> Result:
    """The result of a run's last state: its best parameters under early stopping, else its last."""
    variables, average, step = state.evaluated, state.opt_state.average, int(state.step)
    if run.experiment.patience is not None and np.isfinite(state.best.bound):
        variables, average = state.best.variables, state.best.average
        step = int(state.best.step)
    return Result(
        model=run.experiment.model,
        params=local(variables.params),
        multipliers={name: float(value) for name, value in variables.multipliers.items()},
        average={name: float(value) for name, value in average.items()},
        step=step,
        scaling=run.splits.scaling,
        name=run.name,
        state=state,
        record=run.record,
        run=run,
        history=history,
        interrupted=interrupted,
        started_from=started_from,
    )
