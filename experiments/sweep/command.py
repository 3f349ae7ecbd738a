"""Trains an experiment over κ, β, learning rates and seeds, all members in one program.

    python -m experiments.sweep EXPERIMENT --kappas 0.06 0.1 --seeds 5 [--FIELD VALUE ...]

Leaves sweep.csv, the information plane and the course of one member in the workdir; the same command
goes on from the newest checkpoint. Any other field of the experiment can be set as for
experiments.train.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Mapping, Sequence

import tyro
from etils import epath

from experiments import command_line
from experiments.sweep import comparison, measures, members, plots
from vaelab.checks import UsageError, check_at_least_one
from vaelab.constraints import RE, Constraint
from vaelab.runs.experiment import Experiment
from vaelab.runs.run import Run


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Trains one experiment at many values at once; fields of the experiment may follow."""

    experiment: tyro.conf.Positional[str]
    """name of the experiment"""
    kappas: tuple[float, ...] = ()
    """tolerances of the constraint; default the experiment's own"""
    betas: tuple[float, ...] = ()
    """weights of the rate, where the objective is the ELBO"""
    learning_rates: tuple[float, ...] = ()
    """step sizes of the model's optimiser"""
    seeds: int = 1
    """seeds of each combination, from the experiment's own upwards"""
    constraint: str | None = None
    """whose κ it is, where the experiment has several constraints"""
    marginal_inputs: int = 0
    """training inputs over which the marginal KL is measured; 0 leaves it out"""
    against: str | None = None
    """experiment whose reconstruction error, seed by seed, becomes κ: what is its rate at equal error?"""
    against_steps: int | None = None
    """steps of that experiment; default as many as ours, which then may not settle in time at its error"""
    beside: tuple[str, ...] = ()
    """workdirs of other sweeps, drawn into the same information plane"""
    trajectory: int = 0
    """member whose course is drawn"""
    workdir: str | None = None
    """folder for everything; default runs/sweep-<experiment>"""
    data_dir: str | None = None
    """folder of the data files; default $VAELAB_DATA, else ~/.cache/vaelab"""

    def __post_init__(self) -> None:
        check_at_least_one(seeds=self.seeds)
        if self.marginal_inputs < 0:
            raise UsageError(f"marginal_inputs must not be negative, got {self.marginal_inputs}.")
        check_at_least_one(against_steps=self.against_steps)
        if self.against is not None and (self.kappas or self.betas or self.learning_rates):
            raise UsageError("against sets κ for each seed: leave the other axes out.")
        if self.against is not None:
            _check_pair(command_line.load(self.experiment), command_line.load(self.against))

    def members(self, first_seed: int = 0) -> list[members.Member]:
        """Every combination; a trajectory that is none of them is refused."""
        combinations = members.product(
            {
                "kappa": self.kappas,
                "beta": self.betas,
                "learning_rate": self.learning_rates,
                "seed": range(first_seed, first_seed + self.seeds),
            }
        )
        if not 0 <= self.trajectory < len(combinations):
            raise UsageError(
                f"trajectory must be one of the members 0 to {len(combinations) - 1}, got "
                f"{self.trajectory}."
            )
        return combinations


def _check_pair(ours: Experiment, reference: Experiment) -> None:
    """Raises one sentence where κ of the one cannot be the error σ* of the other."""
    if type(ours.objective.constraints.get("re")) is not RE:
        raise UsageError("against needs an experiment with a constraint RE of the name re.")
    if reference.model.decoder.num_levels == 2:
        raise UsageError("against needs grey or colour images: of binary ones there is no σ*.")
    if ours.data != reference.data:
        raise UsageError("against needs two experiments on the same data.")


def main(argv: Sequence[str]) -> None:
    arguments, overrides = command_line.parse_known(Arguments, argv, "experiments.sweep", __doc__)
    folder = epath.Path(arguments.workdir or f"runs/sweep-{arguments.experiment}")
    interrupted = "the same command goes on from the newest checkpoint, if there is one yet"
    with command_line.plain_errors(folder, interrupted=interrupted):
        train = run_against if arguments.against else run_members
        train(arguments, overrides, folder)
        plane = arguments.against is None  # else every seed has a κ of its own
        plots.save(folder, plane=plane, beside=arguments.beside, trajectory=arguments.trajectory)
    print(f"everything is in {folder}")


def run_against(arguments: Arguments, overrides: Sequence[str], folder: epath.Path) -> None:
    """Trains the reference, then the experiment with κ at what each of its seeds reached."""
    assert arguments.against is not None
    theirs_at = folder / "against"
    flags = list(overrides)
    if arguments.against_steps is not None:
        flags += ["--num-steps", str(arguments.against_steps)]
    reference = dataclasses.replace(arguments, experiment=arguments.against, against=None)
    reference = dataclasses.replace(reference, constraint=None)
    theirs = run_members(reference, flags, theirs_at)
    arguments = dataclasses.replace(arguments, constraint="re")
    if any(row["sigma_star"] != row["sigma_star"] for row in theirs):
        raise UsageError(f"a seed of {arguments.against} diverged: lower its learning rate.")
    combinations = [{"kappa": row["sigma_star"], "seed": int(row["seed"])} for row in theirs]
    ours = run_members(arguments, overrides, folder, combinations)
    shape = command_line.load(arguments.experiment).model.decoder.shape
    names = (arguments.experiment, reference.experiment)
    ours_label, theirs_label = (command_line.load(name).objective_label for name in names)
    num_dims = math.prod(shape)
    result = comparison.compare(
        folder, theirs_at, ours, theirs, names, (ours_label, theirs_label), num_dims
    )
    print(comparison.describe(result))


def run_members(
    arguments: Arguments,
    overrides: Sequence[str],
    folder: epath.Path,
    combinations: Sequence[members.Member] | None = None,
    also: Mapping[str, Constraint] | None = None,
) -> list[measures.Row]:
    """Trains and measures the members, from wherever they were; the rows of sweep.csv."""
    name = arguments.experiment
    experiment = command_line.experiment(name, overrides)
    combinations = combinations or arguments.members(experiment.seed)
    if experiment.patience is not None:
        warnings.warn(
            f"a sweep trains all members to the end: patience = {experiment.patience} is not used.",
            stacklevel=2,
        )
    if arguments.marginal_inputs and experiment.model.conditional:
        raise UsageError(
            f"marginal_inputs compares q(z) with one prior for all data, and the model of {name} is "
            "conditional: leave it out."
        )
    run = Run.load(experiment, arguments.data_dir)
    sweep = members.Sweep(run, list(combinations), arguments.constraint)
    table = folder / "sweep.csv"
    if table.exists():
        sweep.claim(folder, name, overrides)
        print(f"{folder} holds this sweep, finished; delete {table.name} to measure it again")
        return measures.read_csv(table)
    state = sweep.train(folder, name, overrides)
    rows = measures.measure(
        sweep, state, folder, marginal_inputs=arguments.marginal_inputs, also=also
    )
    measures.write_csv(table, rows)  # last: it says that the sweep is finished
    measures.show(name, rows)
    return rows
