"""The folder of a sweep: groups of members, each trained in one program, and a run's folder for each member."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from etils import epath

from vaelab.runs.config import ConfigurationError
from vaelab.runs.files import damaged, read_json, write_json
from vaelab.runs.history import History
from vaelab.runs.identity import generator, identity, plain
from vaelab.runs.lock import held
from vaelab.runs.members import Member
from vaelab.runs.programs import Program
from vaelab.runs.record import differing_fields, to_record
from vaelab.runs.result import Result
from vaelab.runs.run import Run
from vaelab.runs.store import Store
from vaelab.runs.training_files import TrainingFiles
from vaelab.runs.workdir import Workdir
from vaelab.training.loop import Metrics
from vaelab.training.metrics import MetricsLog, read_metrics
from vaelab.training.state import TrainState


class SweepFolder:
    """Holds `sweep.json`, `groups/N/` with checkpoints, and `members/NNN/`, each the folder of a run.

    More members become a new group; the members of earlier groups keep their places.
    """

    def __init__(self, folder: epath.PathLike):
        self.folder = epath.Path(folder).expanduser()
        self.groups_known: list[list[dict[str, Any]]] = []
        self.lengths: list[int] = []  # num_steps of each group

    @contextlib.contextmanager
    def opened(self) -> Iterator[SweepFolder]:
        """Holds the folder for this process."""
        with held(self.folder):
            yield self

    def groups(self, run: Run, members: Sequence[Member]) -> list[Group]:
        """The groups that hold these members; members that are new are a group of their own.

        Raises:
          ConfigurationError: the folder holds a sweep of another experiment.
        """
        self._read(run)
        known = [member for group in self.groups_known for member in group]
        wanted = as_recorded(members)
        new: list[dict[str, Any]] = []
        new += [each for n, each in enumerate(wanted) if each not in known + wanted[:n]]
        groups = [*self.groups_known, *([new] if new else [])]
        return [
            Group(self, index, group, sum(map(len, groups[:index])))
            for index, group in enumerate(groups)
            if any(member in wanted for member in group)
        ]

    def record(
        self, program: Program, group: int, members: Sequence[Member], started_from: str | None
    ) -> None:
        """Writes sweep.json, with the group if it is new."""
        if group == len(self.groups_known):
            self.groups_known.append([dict(member) for member in members])
            self.lengths.append(0)
        self.lengths[group] = program.run.experiment.num_steps
        write_json(
            self.folder / "sweep.json",
            {
                "experiment": program.run.name,
                "configuration": program.run.record,
                "prng": generator(),
                "start": started_from,
                "groups": self.groups_known,
                "lengths": self.lengths,
            },
        )

    def _read(self, run: Run) -> None:
        path = self.folder / "sweep.json"
        if (self.folder / "config.json").exists():
            raise ConfigurationError(
                f"workdir {self.folder} holds a single run: choose another --workdir for the sweep."
            )
        if not path.exists():
            return
        sweep = read_sweep(self.folder)
        ours = identity(run.record) | {"prng": generator()}
        theirs = identity(sweep["configuration"]) | {"prng": sweep["prng"]}
        differences = differing_fields(ours, theirs)
        if differences:
            raise ConfigurationError(
                f"workdir {self.folder} holds a sweep of another configuration, which differs in "
                f"{', '.join(differences)}: choose another --workdir."
            )
        self.groups_known, self.lengths = sweep["groups"], sweep["lengths"]
        if set(self.lengths) != {run.experiment.num_steps}:
            run.experiment.check_longer()


def read_sweep(folder: epath.PathLike) -> dict[str, Any]:
    """The sweep.json of a sweep.

    Raises:
      DamagedFileError: it cannot be read.
    """
    path = epath.Path(folder).expanduser() / "sweep.json"
    sweep = read_json(path)
    needed = {"experiment", "configuration", "prng", "start", "groups", "lengths"}
    if not isinstance(sweep, dict) or (missing := needed - sweep.keys()):
        what = (
            "no object" if not isinstance(sweep, dict) else f"without {', '.join(sorted(missing))}"
        )
        raise damaged(path, what)
    return sweep


def as_recorded(members: Sequence[Member]) -> list[dict[str, Any]]:
    """Members as sweep.json holds them."""
    return [plain(to_record(dict(member))) for member in members]


class Group(Store):
    """Members that are trained in one program."""

    def __init__(self, sweep: SweepFolder, index: int, members: list[dict[str, Any]], first: int):
        self.members, self.place = members, str(sweep.folder)
        self._sweep, self._index, self._first = sweep, index, first
        self._folder = sweep.folder / "groups" / str(index)
        self._files = TrainingFiles(self._folder)
        self._program: Program | None = None
        self._logs: list[MetricsLog] = []

    def member_folder(self, position: int) -> epath.Path:
        """The folder of the run of one member."""
        return self._sweep.folder / "members" / f"{self._first + position:03d}"

    def check(self, program: Program, started_from: str | None) -> None:
        if not (self._sweep.folder / "sweep.json").exists():
            return
        if (before := read_sweep(self._sweep.folder)["start"]) != started_from:
            raise ConfigurationError(
                f"workdir {self.place} holds a sweep that started from {before or 'fresh parameters'}, not "
                f"from {started_from or 'fresh parameters'}: choose another --workdir."
            )

    def restore(self, like: TrainState, program: Program) -> TrainState | None:
        if self._index == len(self._sweep.groups_known):
            return None
        before = self._sweep.lengths[self._index]
        return self._files.restore(like, program.run.experiment, before)

    def histories(self, step: int) -> list[History]:
        folders = [self.member_folder(position) for position in range(len(self.members))]
        return [History(read_metrics(folder)).until(step) for folder in folders]

    def claim(self, program: Program, source: str | None, started_from: str | None) -> None:
        self._program = program
        self._sweep.record(program, self._index, self.members, started_from)
        self._folder.mkdir(parents=True, exist_ok=True)

    def start_training(self, step: int, histories: list[History]) -> None:
        del histories  # those of the members' folders
        self._logs = [
            MetricsLog(self.member_folder(position), resume_step=step, events=False)
            for position in range(len(self.members))
        ]
        self._files.start_training(step)

    def on_metrics(self, step: int, metrics: Metrics) -> None:
        assert self._program is not None
        for log, row in zip(self._logs, self._program.member_rows(metrics), strict=True):
            log.write(step, row)

    def on_checkpoint(self, state: TrainState) -> None:
        self._files.save(state)

    def finish(self, results: Sequence[Result]) -> None:
        """Leaves each member as a run of its own, which `runs.load` reads."""
        self._files.close()
        for position, result in enumerate(results):
            with Workdir(self.member_folder(position)).opened() as folder:
                folder.write_result(result)
