"""One way of parsing for all commands."""

from __future__ import annotations

import abc
import dataclasses
import inspect
from collections.abc import Sequence
from types import ModuleType
from typing import Annotated, Any, cast

import tyro

from vaelab import runs
from vaelab.checks import UsageError
from vaelab.cli import lookup
from vaelab.cli.errors import plain_errors
from vaelab.runs import Experiment


def if_left_out(meaning: str) -> Any:
    """What None means for an option, in its help: `Annotated[int | None, if_left_out("all")] = None`."""
    return tyro.conf.arg(help_behavior_hint=f"(default: {meaning})")


@dataclasses.dataclass(frozen=True)
class Command(abc.ABC):
    """A command: its fields are the options, its docstring is the help."""

    @abc.abstractmethod
    def run(self) -> None:
        """Does the work.

        Raises:
          UsageError: what the user can correct, in one sentence.
        """


@dataclasses.dataclass(frozen=True)
class ExperimentCommand(Command):
    """A command on one experiment, which is named first; any of its fields may follow as an option."""

    experiment: Annotated[Experiment, tyro.conf.arg(name="")]
    name: tyro.conf.Suppress[str]
    source: tyro.conf.Suppress[str]
    data_dir: str | None = dataclasses.field(default=None, kw_only=True)
    """Folder of the data files. Default: $VAELAB_DATA, else ~/.cache/vaelab."""
    streaming: Annotated[bool | None, if_left_out("by its size")] = dataclasses.field(
        default=None, kw_only=True
    )
    """True streams the training set while the devices train. False keeps it in their memory."""


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


def run(command: type[Command], argv: Sequence[str], *, prog: str) -> int:
    """Parses and runs a command, and returns its exit code."""
    with plain_errors() as outcome:
        parse(command, argv, prog=prog).run()
    return outcome.code


def parse(command: type[Command], argv: Sequence[str], *, prog: str) -> Command:
    """The command of an argv. A mistake is a `UsageError`, or a message of tyro and exit code 2."""
    description = inspect.cleandoc(command.__doc__ or "")
    if not issubclass(command, ExperimentCommand):
        return tyro.cli(command, args=list(argv), prog=prog, description=description)
    if not argv or argv[0] in ("-h", "--help"):
        print(_list(prog, description))
        raise SystemExit(0 if argv else 2)
    target, *options = argv
    if target.startswith("-"):
        raise UsageError(f"the name of the experiment comes first, got {target!r} (see --help).")
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
    lines = [f"usage: {prog} NAME | FILE.py[:KEY] [--FIELD VALUE ...]", "", description, ""]
    everything = lookup.find_all()
    if not everything:
        lines.append("There are no experiments in experiments/*.py below the current folder.")
        return "\n".join(lines)
    width = max(map(len, everything))
    source = ""
    for found in everything.values():
        if found.source != source:
            source = found.source
            lines += ["", f"experiments in {source}:"]
        lines.append(f"  {found.name:<{width}}  {summary(found.experiment)}")
    return "\n".join([*lines, "", f"`{prog} NAME --help` lists the fields of an experiment."])


def summary(experiment: Experiment) -> str:
    """Data, model and objective of an experiment, in a line."""
    model = experiment.model
    parts = [experiment.data.title, model.label, experiment.objective_label]
    parts += [constraint.describe() for constraint in experiment.objective.constraints.values()]
    return ", ".join(parts)
