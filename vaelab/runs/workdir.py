"""The folder of a run: configuration, checkpoints, metrics, report and plots. It owns all its files."""

from __future__ import annotations

import contextlib
import errno
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from etils import epath

from vaelab import processes
from vaelab.checks import UndefinedError, UsageError
from vaelab.runs.config import check_config, read_config, write_config
from vaelab.runs.files import write_figure, write_json
from vaelab.runs.history import History
from vaelab.runs.lock import shared
from vaelab.runs.programs import Program
from vaelab.runs.report import Report
from vaelab.runs.reporting import is_current, read_report
from vaelab.runs.result import Result
from vaelab.runs.store import Store
from vaelab.runs.training_files import TrainingFiles
from vaelab.storage import folder_at
from vaelab.training.hooks import Metrics
from vaelab.training.metrics import MetricsLog, read_metrics, write_metrics
from vaelab.training.state import TrainState


class Workdir(Store):
    """The folder of one run. As a hook it writes metrics and checkpoints while the run trains.

    Open it with `opened`, which keeps other processes out.
    """

    def __init__(self, folder: epath.PathLike):
        self.folder = folder_at(folder)
        self.place = str(self.folder)
        self._files = TrainingFiles(self.folder)
        self._log: MetricsLog | None = None
        self._check_held: Callable[[], None] | None = None  # while it is open

    @contextlib.contextmanager
    def opened(self) -> Iterator[Workdir]:
        """Holds the folder for this process. A folder that nothing was written to is removed again."""
        with shared(self.folder) as self._check_held:
            try:
                yield self
            finally:
                self.close()

    def check(self, program: Program, started_from: str | None) -> None:
        check_config(self.folder, program.run, started_from)

    def set_aside_after(self, step: int) -> bool:
        return self._files.set_aside_after(step)

    def claim(self, program: Program, source: str | None, started_from: str | None) -> None:
        write_config(self.folder, program.run, source, started_from)

    def restore(self, like: TrainState, program: Program) -> TrainState | None:
        if not (self.folder / "config.json").exists():
            return None
        before = read_config(self.folder)["configuration"]["num_steps"]
        return self._files.restore(like, program.run.experiment, before)

    def histories(self, step: int) -> list[History]:
        return [History(read_metrics(self.folder)).until(step)]

    def start_training(self, step: int, histories: list[History]) -> None:
        self._log = MetricsLog(self.folder, histories[0].rows)
        self._files.start_training()

    def adopt(self, state: TrainState, histories: list[History]) -> None:
        write_metrics(self.folder, histories[0].rows)
        self._files.save(state)

    def on_metrics(self, step: int, metrics: Metrics) -> None:
        assert self._log is not None
        self._log.write(step, {name: float(value) for name, value in metrics.items()})

    def on_unlogged(self, step: int, metrics: Metrics) -> None:
        self._files.keep_unlogged(step, metrics)

    def unlogged(self, step: int) -> Metrics:
        return self._files.unlogged(step)

    def on_checkpoint(self, state: TrainState) -> None:
        assert self._log is not None
        assert self._check_held is not None
        with processes.agreeing_on_errors():
            self._check_held()
            self._log.flush()
        self._files.save(state)

    def close(self) -> None:
        """Returns when everything is on disk."""
        log, self._log = self._log, None
        try:
            if log is not None:
                log.close()
        finally:
            self._files.close()

    # What a finished run leaves.

    def finish(self, result: Result) -> Report:
        """The report, from its file if that is up to date; else made and written. Then the plots."""
        self._files.forget_before()
        self.close()
        report = self.read_report(result)
        training = self.folder / "training.png"
        if processes.any_of(report is None):
            report = result.report()
            with processes.agreeing_on_errors():
                if processes.is_primary():
                    training.unlink(missing_ok=True)  # the plots are older
                write_json(self.folder / "report.json", report)
        assert report is not None
        if processes.any_of(not training.exists()):
            self.write_plots(result)  # in every process, as encoding is shared
        return report

    def read_report(self, result: Result) -> Report | None:
        """The report of these parameters with these evaluation settings; None if there is none."""
        path = self.folder / "report.json"
        if not path.exists():
            return None
        report = read_report(path)
        return report if is_current(report, result.run, result.step, result.last_step) else None

    def write_plots(self, result: Result) -> None:
        """Writes every plot that is defined for the data. A plot that fails is a warning, a full disk an error."""
        plots: dict[str, Callable[[], Any]] = {
            "reconstructions": result.plot_reconstructions,
            "samples": result.plot_samples,
        }
        num_levels = result.model.depth
        for level in range(num_levels):
            name = "latent_space" if num_levels == 1 else f"latent_space_{level}"
            plots[name] = partial(result.plot_latents, level)
        plots["training"] = result.plot_curves  # drawn last: if it exists, all plots exist
        for name, draw in plots.items():
            try:
                write_figure(self.folder / f"{name}.png", draw())
            except UndefinedError:
                continue
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    raise
                warnings.warn(_not_drawn(name, error), stacklevel=2)
            except Exception as error:  # the numbers are written; no plot may cost them
                warnings.warn(_not_drawn(name, error), stacklevel=2)

    def write_result(self, result: Result, source: str | None = None) -> None:
        """Everything of a result that was not trained here."""
        check_config(self.folder, result.run, result.started_from)
        if (newest := self._files.newest) > result.last_step:
            raise UsageError(
                f"{self.folder} holds the same run after {newest} steps, and this result has "
                f"{result.last_step}: choose another folder."
            )
        write_config(self.folder, result.run, source, result.started_from)
        self.adopt(result.state, [result.history])
        self.close()


def _not_drawn(name: str, error: Exception) -> str:
    return f"{name}.png could not be drawn ({type(error).__name__}: {error})."
