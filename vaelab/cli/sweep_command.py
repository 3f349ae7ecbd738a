"""`vaelab sweep NAME`: one experiment at many values, in one program."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any

from vaelab import runs
from vaelab.checks import UndefinedError, UsageError, check_at_least_one, check_not_negative
from vaelab.cli.parsing import ExperimentCommand, end_if_interrupted, if_left_out
from vaelab.runs import display
from vaelab.runs.files import write_figure
from vaelab.runs.measures import Measures, measure, measures_table, read_measures, write_measures
from vaelab.runs.sweep_folder import read_sweep
from vaelab.storage import folder_at


@dataclasses.dataclass(frozen=True)
class Sweep(ExperimentCommand):
    """Trains one experiment at every combination of values, all members in one program.

    Leaves a run of each member, sweep.csv, the information plane and the trajectory of one member. The
    same command continues where it was interrupted. With more values or seeds it trains the new members.
    """

    kappas: tuple[float, ...] = ()
    """Tolerances κ of the constraint. Default: the experiment's own."""
    betas: tuple[float, ...] = ()
    """Weights of the rate, if the objective is the ELBO. Default: the experiment's own."""
    learning_rates: tuple[float, ...] = ()
    """Learning rates of the optimiser. Default: the experiment's own."""
    seeds: int = 1
    """Number of seeds of each combination, from the experiment's seed upwards."""
    constraint: Annotated[str | None, if_left_out("the only one")] = None
    """Name of the constraint to which `kappas` belong."""
    marginal_inputs: int = 0
    """Training inputs over which the marginal KL is measured. 0 leaves it out."""
    beside: tuple[str, ...] = ()
    """Folders of other sweeps, drawn into the same information plane."""
    trajectory: int = 0
    """Member whose trajectory is drawn."""
    workdir: Annotated[str | None, if_left_out("runs/sweep-NAME")] = None
    """Folder of the sweep."""

    def __post_init__(self) -> None:
        check_at_least_one(seeds=self.seeds)
        check_not_negative(marginal_inputs=self.marginal_inputs)
        if self.constraint is not None and not self.kappas:
            raise UsageError("constraint names the one that kappas belong to: give kappas, or leave it out.")  # fmt: skip

    def members(self) -> list[dict[str, Any]]:
        """Every combination of the values.

        Raises:
          UsageError: κ of no constraint or of several, or a member that does not exist.
        """
        first = self.experiment.seed
        axes: dict[str, Any] = {
            "optimiser.learning_rate": self.learning_rates,
            "seed": range(first, first + self.seeds),
        }
        if self.betas:
            axes = {"objective.beta": self.betas} | axes
        if self.kappas:
            axes = {f"objective.constraints.{self.swept}.kappa": self.kappas} | axes
        members = runs.grid(axes)
        if not 0 <= self.trajectory < len(members):
            raise UsageError(
                f"trajectory must be a member from 0 to {len(members) - 1}, got {self.trajectory}."
            )
        return members

    @property
    def swept(self) -> str:
        """The name of the constraint to which `kappas` belong."""
        names = list(self.experiment.objective.constraints)
        if not names:
            raise UsageError("kappas need an experiment with a constraint: leave them out.")
        if self.constraint is None and len(names) > 1:
            raise UsageError(f"constraint must name the one that κ belongs to: {', '.join(names)}.")
        if self.constraint is not None and self.constraint not in names:
            raise UsageError(
                f"constraint must be one of {', '.join(names)}, got {self.constraint!r}."
            )
        return self.constraint or names[0]

    def run(self) -> None:
        members = self.members()
        if self.marginal_inputs and self.experiment.model.conditional:
            raise UndefinedError(
                "marginal_inputs compares q(z) with one prior for all data, and this model is conditional: "
                "leave it out."
            )
        folder = folder_at(self.workdir or f"runs/sweep-{self.name}")
        beside = [
            (read_sweep(each)["experiment"], each, read_measures(each)) for each in self.beside
        ]
        results = runs.train(
            self.experiment, members=members, workdir=folder, name=self.name, source=self.source,
            data_dir=self.data_dir, mesh=self.mesh, streaming=self.streaming,
        )  # fmt: skip
        end_if_interrupted(results)
        rows = measure(results, members, marginal_inputs=self.marginal_inputs)
        write_measures(folder, rows)
        display.show(measures_table(self.name, rows))
        from vaelab.runs import pictures  # needs matplotlib

        plane = pictures.information_plane(by_name([(self.name, str(folder), rows), *beside]))
        write_figure(folder / "information_plane.png", plane)
        if self.experiment.objective.constraints:
            name = self.swept if self.kappas else next(iter(self.experiment.objective.constraints))
            course = pictures.trajectory(results[self.trajectory], name)
            write_figure(folder / "trajectory.png", course)
        print(f"everything is in {folder}")


def by_name(
    sweeps: Sequence[tuple[str, str, Sequence[Measures]]],
) -> dict[str, Sequence[Measures]]:
    """Sweeps (experiment, folder, measures) by their experiments; by their folders if these are equal.

    >>> list(by_name([("a", "runs/a", []), ("b", "runs/b", []), ("b", "runs/c", [])]))
    ['a', 'runs/b', 'runs/c']
    """
    names = [experiment for experiment, _, _ in sweeps]
    return {
        folder if names.count(experiment) > 1 else experiment: rows
        for experiment, folder, rows in sweeps
    }
