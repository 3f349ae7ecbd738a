"""One way of parsing for all commands."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import inspect
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Annotated, Any, ClassVar, cast

import tyro

from vaelab import processes, runs
from vaelab.checks import UsageError
from vaelab.cli import lookup
from vaelab.cli.errors import plain_errors
from vaelab.runs import Experiment, keep_programs
from vaelab.signals import preemptible


def if_left_out(meaning: str) -> Any:
    """What None means for an option, in its help: `Annotated[int | None, if_left_out("all")] = None`."""
    return tyro.conf.arg(help_behavior_hint=f"(default: {meaning})")


@dataclasses.dataclass(frozen=True)
class Command(abc.ABC):
    """A command: its fields are the options, its docstring is the help."""

    continues: ClassVar[bool] = False
    """True if the same command continues where it was preempted, with exit code 0."""

    @abc.abstractmethod
    def run(self) -> None:
        """Does the work.

        Raises:
          UsageError: what the user can correct, in one sentence.
        """


@dataclasses.dataclass(frozen=True)
class Distributed:
    """Several hosts that train together. Start the same command on each host."""

    distributed: bool = False
    """True joins the processes of all hosts. A TPU pod, Slurm and MPI need no other option. Elsewhere give the next three."""
    coordinator: Annotated[str | None, if_left_out("$JAX_COORDINATOR_ADDRESS")] = None
    """Address of the first process, HOST:PORT."""
    num_processes: Annotated[int | None, if_left_out("known to TPU pods, Slurm and MPI")] = None
    """Number of processes."""
    process_id: Annotated[int | None, if_left_out("known to TPU pods, Slurm and MPI")] = None
    """Number of this process: 0 on the first host, then 1, 2, ..."""

    def __post_init__(self) -> None:
        given = [self.coordinator, self.num_processes, self.process_id]
        if not self.distributed and given != [None] * 3:
            raise UsageError(
                "coordinator, num_processes and process_id belong to several processes: add --distributed."
            )

    def join(self) -> None:
        """Joins the processes. Only the primary one prints from now on."""
        if self.distributed:
            processes.initialize(self.coordinator, self.num_processes, self.process_id)
            if not processes.is_primary():
                sys.stdout = open(os.devnull, "w")  # noqa: SIM115  until the process ends


@dataclasses.dataclass(frozen=True)
class HostsCommand(Command):
    """A command that several hosts may share."""

    hosts: Annotated[Distributed, tyro.conf.OmitArgPrefixes] = dataclasses.field(
        default=Distributed(), kw_only=True
    )

    @staticmethod
    def join(argv: Sequence[str]) -> None:
        """Joins the processes: JAX does it before it computes anything, and experiments may compute."""
        if not {"-h", "--help"} & set(argv):
            known, _ = tyro.cli(
                Distributed, args=list(argv), return_unknown_args=True, add_help=False
            )
            known.join()


@dataclasses.dataclass(frozen=True)
class ExperimentCommand(HostsCommand):
    """A command on one experiment, which is named first; any of its fields may follow as an option."""

    continues: ClassVar[bool] = True

    experiment: Annotated[Experiment, tyro.conf.arg(name="")]
    name: tyro.conf.Suppress[str]
    source: tyro.conf.Suppress[str]
    data_dir: Annotated[str | None, if_left_out("$VAELAB_DATA, else ~/.cache/vaelab")] = (
        dataclasses.field(default=None, kw_only=True)
    )
    """Folder of the data files."""
    streaming: Annotated[bool | None, if_left_out("by its size")] = dataclasses.field(
        default=None, kw_only=True
    )
    """True reads the training set from its files while training. False loads it into the memory of the devices. Left out, it is read from its files if it is larger than a quarter of the memory."""
    mesh: runs.Mesh = dataclasses.field(default=runs.Mesh(), kw_only=True)
    """Devices of the training. Left out, as many as divide the batch and the members."""


@dataclasses.dataclass(frozen=True)
class TrainedCommand(Command):
    """A command on the folder of a run, which is named first."""

    folder: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
    """Folder of the run."""
    modules: tuple[str, ...] = dataclasses.field(default=(), kw_only=True)
    """Modules or files with types of your own, which the run uses."""

    def load(self) -> tuple[runs.Trained, list[ModuleType]]:
        """The model of the run, and the modules of the user's own types."""
        modules = lookup.import_modules(self.modules)
        return runs.load(self.folder, modules=modules), modules


def end_if_interrupted(results: Sequence[runs.Result]) -> None:
    """Ends the command if the training of any result was interrupted."""
    steps = [result.last_step for result in results if result.interrupted]
    if steps:
        print(f"interrupted at step {steps[0]}; the same command continues from there.")
        raise SystemExit(130)


def execute(command: Command) -> None:
    """Does the work of a command; SIGTERM ends a command that can continue with a sentence."""
    with preemptible() if command.continues else contextlib.nullcontext():
        command.run()


def run(command: type[Command], argv: Sequence[str], *, prog: str) -> int:
    """Parses and runs a command, and returns its exit code."""
    with plain_errors() as outcome:
        keep_programs()
        execute(parse(command, argv, prog=prog))
    return outcome.code


def parse(command: type[Command], argv: Sequence[str], *, prog: str) -> Command:
    """The command of an argv. A mistake is a `UsageError`, or a message of tyro and exit code 2."""
    description = inspect.cleandoc(command.__doc__ or "")
    if not issubclass(command, ExperimentCommand):
        if issubclass(command, HostsCommand):
            command.join(argv)
        return tyro.cli(command, args=list(argv), prog=prog, description=description)
    if not argv or argv[0] in ("-h", "--help"):
        print(_list(prog, description))
        raise SystemExit(0 if argv else 2)
    target, *options = argv
    if target.startswith("-"):
        raise UsageError(f"the name of the experiment comes first, got {target!r} (see --help).")
    command.join(options)
    found = lookup.find(target)
    default: Any = command(experiment=found.experiment, name=found.name, source=found.source)
    return tyro.cli(
        cast(Any, tyro.conf.AvoidSubcommands)[command],  # fields, not a choice of classes
        default=default,
        args=options,
        prog=f"{prog} {target}",
        description=(
            f"{description}\n\nDefaults of the experiment's fields are the values of {found.name} in "
            f"{found.source}. To choose another class, such as another prior, write a file of your own with "
            "EXPERIMENTS = {'mine': ...} and name it as FILE.py:mine."
        ),
    )


def _list(prog: str, description: str) -> str:
    lines = [
        f"usage: {prog} NAME | FILE.py[:KEY] [--FIELD VALUE ...]", "", description, "",
        f"`{prog} NAME --help` lists all options, such as --workdir, and the fields of an experiment.",
    ]  # fmt: skip
    everything = lookup.find_all()
    if not everything:
        lines.append("\nThere are no experiments in experiments/*.py below the current folder.")
        return "\n".join(lines)
    width = max(map(len, everything))
    source = ""
    for found in everything.values():
        if found.source != source:
            source = found.source
            lines += ["", f"experiments in {source}:"]
        lines.append(f"  {found.name:<{width}}  {summary(found.experiment)}")
    return "\n".join(lines)


def summary(experiment: Experiment) -> str:
    """Data, model and objective of an experiment, in a line."""
    model = experiment.model
    parts = [experiment.data.title, model.label, experiment.objective_label]
    parts += [constraint.describe() for constraint in experiment.objective.constraints.values()]
    return ", ".join(parts)
