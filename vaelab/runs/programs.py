"""What one compiled program trains: a run, or members of one experiment side by side."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from vaelab import processes
from vaelab.checks import counted
from vaelab.runs.identity import generator
from vaelab.runs.members import Member, at, check_members
from vaelab.runs.mesh import Mesh
from vaelab.runs.run import Run
from vaelab.training import memory, population, sharding
from vaelab.training.feeds import Feed, Resident
from vaelab.training.hooks import Metrics
from vaelab.training.sharding import replicated
from vaelab.training.state import TrainState
from vaelab.training.step import compile_train_steps
from vaelab.training.windows import Windows
from vaelab.types import PyTree, Saddle


@dataclasses.dataclass(frozen=True)
class Program:
    """What one program trains: here one run. `Members` trains several side by side."""

    run: Run
    devices: Mesh = dataclasses.field(default=Mesh(), kw_only=True)

    alone: ClassVar[bool] = True
    """True if a state is that of one run, without an axis of members."""

    @property
    def runs(self) -> Sequence[Run]:
        """The run of each member, as if it were alone."""
        return [self.run]

    @property
    def label(self) -> str:
        """What is trained, for the user."""
        return self.run.name

    @property
    def num_members(self) -> int | None:
        """Number of members. None for a single run."""
        return None

    def mesh(self) -> jax.sharding.Mesh:
        """The devices that share the work."""
        return self.devices.make(self.run.experiment.batch_size, self.num_members)

    @property
    def seeds(self) -> int | list[int]:
        """The seed of the run, or of each member."""
        return self.run.experiment.seed

    def initial_state(self, params: PyTree | None = None) -> TrainState:
        """The state before the first step, with these parameters or with fresh ones."""
        key = jax.random.key(self.run.experiment.seed)
        return self.run.setup().initial_state(self.run.sample, key, params)

    def place(self, state: TrainState, mesh: jax.sharding.Mesh) -> TrainState:
        """A copy of the state on the devices, which training may donate. The best stays on the host."""
        best, state = sharding.fetch(state.best), state._replace(best=())  # type: ignore[arg-type]
        return sharding.place(state, self._shardings(state, mesh))._replace(best=best)

    def feed(self, mesh: jax.sharding.Mesh) -> Feed:
        """The feed of the training set: resident on the devices, or streamed."""
        experiment = self.run.experiment
        if self.run.stream is None:
            return Resident(self.run.source, mesh, self._longest)
        seeds, which = np.unique(self.seeds, return_inverse=True)
        return Windows(
            self.run.stream, sampler=experiment.sampler, seeds=seeds, which=which,
            batch_size=experiment.batch_size, timetable=experiment.timetable, mesh=mesh,
            data_range=experiment.model.decoder.data_range,
        )  # fmt: skip

    def compile_steps(self, mesh: jax.sharding.Mesh, capacity: int | None = None):
        """(state, source, *, num_steps) -> (state, metrics): one program for any number of steps.

        `capacity` is the largest number. None is that between two stops of the timetable.
        """
        setup = self.run.setup()
        return compile_train_steps(
            model=setup.model, objective=setup.objective, tx=setup.tx,
            preprocess=self.run.experiment.data.preprocess, mesh=mesh,
            sharded=self.devices.shard_parameters, capacity=capacity or self._longest,
        )  # fmt: skip

    def validate(self, variables: Saddle) -> Metrics:
        """Metrics of the validation set, [] or [M]."""
        return self.run.validate(variables)

    def member_states(self, state: TrainState) -> list[TrainState]:
        """The state of each member."""
        return [state]

    def member_rows(self, metrics: Metrics) -> list[dict[str, float]]:
        """The metrics of each member."""
        return [{name: float(value) for name, value in metrics.items()}]

    def shapes(self, mesh: jax.sharding.Mesh) -> TrainState:
        """The shapes of a state, as they lie on the devices."""
        shapes = jax.eval_shape(self.initial_state)
        return memory.placed(shapes, self._shardings(shapes, mesh))

    def compile_ahead(self, run_steps, state: TrainState, feed: Feed) -> Callable[[], None]:
        """Compiles the program in a thread, for shapes of a state and the feed. The result waits for it.

        Raises:
          UsageError: it does not fit into the memory, here or when the result is called.
        """
        state = state._replace(best=())  # type: ignore[arg-type]
        return memory.check_fits(run_steps, state, feed.shapes, num_steps=feed.capacity)

    def compile_validation(self, shapes: TrainState) -> None:
        """Compiles the validation ahead, for the shapes of a state on the devices."""
        self.run.compile_validation(shapes.evaluated)

    def _shardings(self, state: TrainState, mesh: jax.sharding.Mesh) -> TrainState:
        return sharding.state_shardings(
            state, mesh, members=False, sharded=self.devices.shard_parameters
        )

    @property
    def _longest(self) -> int:
        return self.run.experiment.timetable.longest_dispatch


@dataclasses.dataclass(frozen=True)
class Members(Program):
    """One experiment at several values of its fields, in one program."""

    members: Sequence[Member]

    alone: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_members(self.run.experiment, self.members)
        if generator() != "threefry2x32":
            warnings.warn(
                f"the random number generator {generator()} draws other numbers for members than for a "
                "run alone: with threefry2x32 both are the same.",
                stacklevel=4,
            )

    @functools.cached_property
    def runs(self) -> Sequence[Run]:
        return [self._run(member) for member in self.members]

    @property
    def label(self) -> str:
        return f"{counted(len(self.members), 'member')} of {self.run.name}"

    @property
    def num_members(self) -> int:
        return len(self.members)

    @property
    def seeds(self) -> int | list[int]:
        return [member.get("seed", self.run.experiment.seed) for member in self.members]

    def initial_state(self, params: PyTree | None = None) -> TrainState:
        keys = jax.vmap(jax.random.key)(jnp.asarray(self.seeds, jnp.int32))
        return population.initial_states(
            self._setup, self._values(), self.run.sample, keys, params=params
        )

    def compile_steps(self, mesh: jax.sharding.Mesh, capacity: int | None = None):
        run_steps = population.compile_member_steps(
            self._setup, preprocess=self.run.experiment.data.preprocess, mesh=mesh,
            sharded=self.devices.shard_parameters, capacity=capacity or self._longest,
        )  # fmt: skip
        values = sharding.place(self._values(), population.split(mesh))
        return population.BoundSteps(run_steps, values)

    def validate(self, variables: Saddle) -> Metrics:
        rows = [
            run.validate(population.member(variables, index)) for index, run in enumerate(self.runs)
        ]
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    def compile_validation(self, shapes: TrainState) -> None:
        """Does nothing: the variables of a member are parts of arrays."""

    def member_states(self, state: TrainState) -> list[TrainState]:
        best, state = state.best, state._replace(best=())  # type: ignore[arg-type]
        if processes.count() > 1:  # each member whole in each process
            state = sharding.replicate(state, state.step.sharding.mesh)  # type: ignore[attr-defined]
        members = state._replace(step=None)  # type: ignore[arg-type]
        return [
            population.member(members, index)._replace(
                step=state.step, best=jax.tree.map(np.asarray, population.member(best, index))
            )
            for index in range(len(self.members))
        ]

    def member_rows(self, metrics: Metrics) -> list[dict[str, float]]:
        return [
            {name: float(value[index]) for name, value in metrics.items()}
            for index in range(len(self.members))
        ]

    def _shardings(self, state: TrainState, mesh: jax.sharding.Mesh) -> TrainState:
        members = sharding.state_shardings(
            state._replace(step=None),  # type: ignore[arg-type]
            mesh,
            members=True,
            sharded=self.devices.shard_parameters,
        )
        return members._replace(step=replicated(mesh))

    def _run(self, member: Mapping[str, Any]) -> Run:
        return dataclasses.replace(self.run, experiment=at(self.run.experiment, member))

    def _setup(self, values: Mapping[str, Any]) -> population.Setup:
        return self._run(values).setup()

    def _values(self) -> dict[str, jax.Array]:
        """{path: [M]} of the fields that differ between members, the seed left out."""
        names = [name for name in self.members[0] if name != "seed"]
        return {name: jnp.asarray([m[name] for m in self.members], jnp.float32) for name in names}
