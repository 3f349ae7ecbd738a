"""What all studies share: a command that trains members of experiments in folders of its own."""

from __future__ import annotations

import abc
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, NoReturn

from etils import epath

from experiments.taming import FAMILIES
from vaelab import runs
from vaelab.checks import UsageError, check_at_least_one
from vaelab.cli import parsing
from vaelab.runs import Experiment, Hook, Result
from vaelab.runs.members import Member


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study(parsing.Command):
    """A command whose parts are trained in folders of the workdir."""

    continues: ClassVar[bool] = True

    workdir: Annotated[
        str | None, parsing.if_left_out("a folder in runs/ with the study's name")
    ] = None
    """Folder of all results."""
    num_steps: Annotated[int | None, parsing.if_left_out("the number of its experiment")] = None
    """Training steps of each model."""
    data_dir: Annotated[str | None, parsing.if_left_out("$VAELAB_DATA, else ~/.cache/vaelab")] = (
        None
    )
    """Folder of the data files."""

    def __post_init__(self) -> None:
        check_at_least_one(num_steps=self.num_steps)

    @property
    @abc.abstractmethod
    def title(self) -> str:
        """Name of the study, and of its folder in runs/."""

    @property
    def folder(self) -> epath.Path:
        """The workdir."""
        return epath.Path(self.workdir or f"runs/{self.title}").expanduser()

    def train(
        self,
        name: str,
        experiment: Experiment,
        members: Sequence[Member],
        *,
        num_steps: int | None = None,
        hooks: Sequence[Hook] = (),
    ) -> list[Result]:
        """The members' results; members that are finished in the folder `name` are not trained again.

        Raises:
          KeyboardInterrupt: training was interrupted, and continues with the same command.
        """
        if num_steps is None:
            num_steps = self.num_steps
        if num_steps is not None:
            experiment = of_length(experiment, num_steps)
        results = runs.train(
            experiment, members=members, workdir=self.folder / name, name=name,
            data_dir=self.data_dir, hooks=hooks,
        )  # fmt: skip
        if len(results) < len(members) or any(result.interrupted for result in results):
            raise KeyboardInterrupt
        return results


def of_length(experiment: Experiment, num_steps: int) -> Experiment:
    """The experiment with another number of steps, and an objective that fits it.

    >>> annealed = FAMILIES["grey_mnist_mlp"]["annealed"]
    >>> of_length(annealed, 700).objective.anneal_steps / 700
    0.75
    """
    objective = experiment.objective.for_length(num_steps, before=experiment.num_steps)
    return experiment.with_fields(num_steps=num_steps, objective=objective)


def family(name: str) -> Mapping[str, Experiment]:
    """The experiments of a family, by their objectives.

    Raises:
      UsageError: there is no such family.
    """
    if name not in FAMILIES:
        raise UsageError(f"there is no family {name!r}: choose one of {', '.join(FAMILIES)}.")
    return FAMILIES[name]


def main(command: type[parsing.Command]) -> NoReturn:
    """Runs the command of the module that Python runs, and exits."""
    here, module = Path(__file__).resolve().parents[1], Path(sys.argv[0]).resolve()
    name = ".".join(module.relative_to(here).with_suffix("").parts).removesuffix(".__main__")
    raise SystemExit(parsing.run(command, sys.argv[1:], prog=f"python -m {name}"))
