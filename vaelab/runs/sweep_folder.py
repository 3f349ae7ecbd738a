"""The folder of a sweep: groups of members, each trained in one program, and a run's folder for each member."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from etils import epath

from vaelab import processes
from vaelab.runs.config import ConfigurationError, check_same, described, read_kept
from vaelab.runs.files import damaged, write_json
from vaelab.runs.history import History
from vaelab.runs.identity import plain
from vaelab.runs.lock import shared
from vaelab.runs.members import Member
from vaelab.runs.programs import Program
from vaelab.runs.record import to_record
from vaelab.runs.result import Result
from vaelab.runs.run import Run
from vaelab.runs.serial import from_json
from vaelab.runs.store import Store
from vaelab.runs.training_files import TrainingFiles
from vaelab.runs.workdir import Workdir
from vaelab.storage import folder_at, make_folder
from vaelab.training.hooks import Metrics
from vaelab.training.metrics import MetricsLog, read_metrics
from vaelab.training.state import TrainState


class SweepFolder:
    """Holds `sweep.json`, `groups/N/` with checkpoints, and `members/NNN/`, each the folder of a run.

    More members become a new group; the members of earlier groups keep their places.
    """

    def __init__(self, folder: epath.PathLike):
        self.folder = folder_at(folder)
        self.kept: list[dict[str, Any]] = []  # members and num_steps of each group
        self.check_held: Callable[[], None] | None = None  # while it is open

    @contextlib.contextmanager
    def opened(self) -> Iterator[SweepFolder]:
        """Holds the folder for this process."""
        with shared(self.folder) as self.check_held:
            yield self

    def groups(self, run: Run, members: Sequence[Member]) -> list[Group]:
        """The groups that hold these members; members that are new are a group of their own.

        Raises:
          ConfigurationError: the folder holds a single run, or a sweep of another experiment.
        """
        if (self.folder / "config.json").exists():
            raise ConfigurationError(
                f"workdir {self.folder} holds a single run: choose another workdir for the sweep."
            )
        if (self.folder / "sweep.json").exists():
            sweep = read_sweep(self.folder)
            self.kept = sweep["groups"]
            self.check(run, sweep["start"])  # each group checks the start
        groups = [group["members"] for group in self.kept]
        known = [member for group in groups for member in group]
        wanted = as_recorded(members)
        new: list[dict[str, Any]] = []
        new += [each for n, each in enumerate(wanted) if each not in known + wanted[:n]]
        groups += [new] if new else []
        return [
            Group(self, index, group, sum(map(len, groups[:index])))
            for index, group in enumerate(groups)
            if any(member in wanted for member in group)
        ]

    def check(self, run: Run, started_from: str | None) -> None:
        """Raises one sentence if the folder holds a sweep of another experiment.

        Raises:
          UsageError: the fields that differ, or a length that cannot change.
        """
        if not (self.folder / "sweep.json").exists():
            return
        what = f"workdir {self.folder} holds a sweep"
        check_same(what, read_sweep(self.folder), run, started_from)
        if {group["num_steps"] for group in self.kept} != {run.experiment.num_steps}:
            run.experiment.check_longer()

    def record(self, run: Run, group: Group, source: str | None, started_from: str | None) -> None:
        """Writes sweep.json, with the group if it is new."""
        if group.index == len(self.kept):
            self.kept.append({"members": group.members})
        self.kept[group.index]["num_steps"] = run.experiment.num_steps
        kept = described(run, source, started_from) | {"groups": self.kept}
        write_json(self.folder / "sweep.json", kept)


class _KeptGroup(NamedTuple):
    """A group as sweep.json holds it."""

    members: list[dict[str, Any]]
    num_steps: int


def read_sweep(folder: epath.PathLike) -> dict[str, Any]:
    """The sweep.json of a sweep.

    Raises:
      ConfigurationError: it is another version's.
      DamagedFileError: it cannot be read.
    """
    path = folder_at(folder) / "sweep.json"
    sweep = read_kept(path, {"groups"})
    try:
        from_json(list[_KeptGroup], sweep["groups"])
    except (TypeError, KeyError) as error:
        raise damaged(path, f"groups: {error}") from None
    return sweep


def as_recorded(members: Sequence[Member]) -> list[dict[str, Any]]:
    """Members as sweep.json holds them."""
    return [plain(to_record(dict(member))) for member in members]


class Group(Store):
    """Members that are trained in one program."""

    def __init__(self, sweep: SweepFolder, index: int, members: list[dict[str, Any]], first: int):
        self.index, self.members, self.place = index, members, str(sweep.folder)
        self._sweep, self._first = sweep, first
        self._folder = sweep.folder / "groups" / str(index)
        self._files = TrainingFiles(self._folder)
        self._program: Program | None = None
        self._logs: list[MetricsLog] = []

    def member_folder(self, position: int) -> epath.Path:
        """The folder of the run of one member."""
        return self._sweep.folder / "members" / f"{self._first + position:03d}"

    def check(self, program: Program, started_from: str | None) -> None:
        self._sweep.check(program.run, started_from)

    def restore(self, like: TrainState, program: Program) -> TrainState | None:
        if self.index == len(self._sweep.kept):
            return None
        before = self._sweep.kept[self.index]["num_steps"]
        return self._files.restore(like, program.run.experiment, before)

    def histories(self, step: int) -> list[History]:
        folders = [self.member_folder(position) for position in range(len(self.members))]
        return [History(read_metrics(folder)).until(step) for folder in folders]

    def set_aside_after(self, step: int) -> bool:
        later = self._files.set_aside_after(step)
        for position in range(len(self.members)):  # the runs that a shorter sweep left
            files = TrainingFiles(self.member_folder(position))
            later = files.set_aside_after(step) or later
            files.close()
        return later

    def claim(self, program: Program, source: str | None, started_from: str | None) -> None:
        self._program = program
        self._sweep.record(program.run, self, source, started_from)
        make_folder(self._folder)

    def start_training(self, step: int, histories: list[History]) -> None:
        self._logs = [
            MetricsLog(self.member_folder(position), history.rows, events=False)
            for position, history in enumerate(histories)
        ]
        self._files.start_training()

    def on_metrics(self, step: int, metrics: Metrics) -> None:
        assert self._program is not None
        for log, row in zip(self._logs, self._program.member_rows(metrics), strict=True):
            log.write(step, row)

    def on_unlogged(self, step: int, metrics: Metrics) -> None:
        self._files.keep_unlogged(step, metrics)

    def unlogged(self, step: int) -> Metrics:
        return self._files.unlogged(step)

    def on_checkpoint(self, state: TrainState) -> None:
        assert self._sweep.check_held is not None
        with processes.agreeing_on_errors():
            self._sweep.check_held()
            for log in self._logs:
                log.flush()
        self._files.save(state)

    def close(self) -> None:
        logs, self._logs = self._logs, []
        try:
            for log in logs:
                log.close()
        finally:
            self._files.close()

    def finish(self, results: Sequence[Result]) -> None:
        """Leaves each member as a run of its own, which `runs.load` reads."""
        if not any(result.interrupted for result in results):
            self._files.forget_before()
        self.close()
        for position, result in enumerate(results):
            with Workdir(self.member_folder(position)).opened() as folder:
                folder.write_result(result)
