"""The members of a sweep: one experiment at many values, trained in one program, each reported alone."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jax.sharding import Mesh

from vaelab.checks import UsageError
from vaelab.runs import memory, workdir
from vaelab.runs.experiment import Experiment
from vaelab.runs.run import Run
from vaelab.runs.session import session
from vaelab.training import population
from vaelab.training.metrics import MetricsLog
from vaelab.training.sharding import make_mesh, replicate, replicated
from vaelab.training.state import TrainState
from vaelab.types import Array

Member = dict[str, float]  # any of kappa, beta, learning_rate, and seed


def product(axes: Mapping[str, Sequence[float]]) -> list[Member]:
    """Every combination of the axes' values; an empty axis is left out.

    >>> product({"kappa": [0.1, 0.2], "beta": [], "seed": [0]})
    [{'kappa': 0.1, 'seed': 0}, {'kappa': 0.2, 'seed': 0}]
    """
    named = {name: values for name, values in axes.items() if len(values)}
    return [dict(zip(named, values, strict=True)) for values in itertools.product(*named.values())]


def at(experiment: Experiment, values: Mapping[str, Any], constraint: str | None) -> Experiment:
    """The experiment at these values, which may be tracers; κ is that of the constraint named."""
    objective, optimiser = experiment.objective, experiment.optimiser
    if "kappa" in values:
        name = _constraint_name(experiment, constraint)
        chosen: Any = objective.constraints[name]
        changed = dataclasses.replace(chosen, kappa=values["kappa"])
        constraints = {**objective.constraints, name: changed}
        objective = dataclasses.replace(objective, constraints=constraints)  # type: ignore[type-var]
    if "beta" in values:
        objective = objective.with_beta(values["beta"])
    if "learning_rate" in values:
        optimiser = dataclasses.replace(optimiser, learning_rate=values["learning_rate"])
    seed = values.get("seed", experiment.seed)
    return dataclasses.replace(experiment, objective=objective, optimiser=optimiser, seed=seed)


def _constraint_name(experiment: Experiment, constraint: str | None) -> str:
    names = list(experiment.objective.constraints)
    if not names:
        raise UsageError("kappas need an experiment with a constraint: leave them out.")
    if constraint is None and len(names) > 1:
        raise UsageError(f"constraint must say whose κ it is, one of {', '.join(names)}.")
    if constraint is not None and constraint not in names:
        raise UsageError(f"constraint must be one of {', '.join(names)}, got {constraint!r}.")
    return constraint or names[0]


@dataclasses.dataclass(frozen=True)
class Sweep:
    """An experiment with its data, at every member's values."""

    run: Run
    members: list[Member]
    constraint: str | None = None

    def __post_init__(self) -> None:
        if not self.members:
            raise UsageError("a sweep needs at least one member.")
        for member in self.members:
            at(self.run.experiment, member, self.constraint)  # refuses what no member may be

    def member_run(self, index: int) -> Run:
        """The run of one member, as if it had been alone."""
        experiment = at(self.run.experiment, self.members[index], self.constraint)
        return Run(experiment, self.run.splits)

    def train(self, folder: epath.Path, name: str, overrides: Sequence[str]) -> TrainState:
        """Trains all members, from the newest checkpoint where there is one, and leaves each one's
        metrics below `folder/members`.

        The workdir is claimed last: what cannot run leaves nothing behind.
        """
        experiment = self.run.experiment
        mesh, keys, values = self._start()
        workdir.check_claim(folder, name, experiment)  # before the compiler's time is spent
        run_steps, source = self._compile(mesh), self.run.source()
        start = partial(population.initial_states, self._setup)
        shapes = jax.eval_shape(start, values, self.run.splits.train, keys)
        state = memory.placed(shapes._replace(step=None), population.split(mesh))
        memory.check_fits(  # traced and compiled here: some mistakes show in it
            run_steps,
            state._replace(step=memory.placed(shapes.step, replicated(mesh))),
            memory.placed(values, population.split(mesh)),
            memory.placed(source, replicated(mesh)),
            num_steps=experiment.timetable.next_stop(0),
        )
        source = replicate(source, mesh)
        state = start(values, source.examples, keys)
        self.claim(folder, name, overrides)
        what = f"{len(self.members)} members of {name}"
        with session(folder, what, state, experiment.num_steps) as current:
            logs = [
                MetricsLog(
                    member_folder(folder, index), resume_step=int(current.state.step), events=False
                )
                for index in range(len(self.members))
            ]

            def log(step: int, metrics: dict[str, np.ndarray]) -> None:
                for index, member_log in enumerate(logs):
                    row = {name: float(value[index]) for name, value in metrics.items()}
                    member_log.write(step, row)
                means = {name: float(np.mean(value)) for name, value in metrics.items()}
                current.progress.update(step, means)

            return population.fit_members(
                *population.place(current.state, values, mesh),
                source,
                run_steps=run_steps,
                timetable=experiment.timetable,
                log=log,
                save=current.save,
            )

    def claim(self, folder: epath.Path, name: str, overrides: Sequence[str]) -> None:
        """Makes the workdir this sweep's, or checks that it is."""
        workdir.claim(folder, name, overrides, self.run.experiment)
        path = folder / "members.json"
        ours = {"members": self.members, "constraint": self.constraint}
        if not path.exists():
            workdir.write_json(path, ours)
        elif json.loads(path.read_text()) != json.loads(json.dumps(ours)):
            raise workdir.ConfigurationError(
                f"workdir {folder} holds a sweep of other members; choose another --workdir."
            )

    def _start(self) -> tuple[Mesh, Array, population.Values]:
        """The mesh, and the keys and values of all members."""
        experiment = self.run.experiment
        seeds = [int(member.get("seed", experiment.seed)) for member in self.members]
        keys = jax.vmap(jax.random.key)(jnp.asarray(seeds))
        values = population.values_of(
            [{name: m[name] for name in m if name != "seed"} for m in self.members]
        )
        mesh = make_mesh(sweep=math.gcd(len(self.members), jax.device_count()))
        if experiment.batch_size % mesh.shape["data"]:
            raise UsageError(
                f"batch_size = {experiment.batch_size} must be a multiple of the {mesh.shape['data']} "
                "devices that share a batch."
            )
        return mesh, keys, values

    def _compile(self, mesh: Mesh):
        return population.compile_sweep_steps(
            self._setup, preprocess=self.run.experiment.data.preprocess, mesh=mesh
        )

    def _setup(self, values: Mapping[str, Any]) -> population.Setup:
        run = Run(at(self.run.experiment, values, self.constraint), self.run.splits)
        experiment = run.experiment
        return population.Setup(
            experiment.model,
            experiment.objective,
            run.transformation(),
            experiment.initial_multiplier,
            experiment.ema_decay,
        )


def member_folder(folder: epath.Path, index: int) -> epath.Path:
    """Where a member leaves its metrics."""
    return folder / "members" / f"{index:03d}"
