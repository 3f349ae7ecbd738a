"""One way of parsing for all commands."""

from __future__ import annotations

import abc
import dataclasses
import inspect
from collections.abc import Sequence
from typing import Annotated, Any, cast

import tyro

from vaelab.checks import UsageError
from vaelab.cli import lookup
from vaelab.cli.errors import plain_errors
from vaelab.runs import Experiment


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
