"""A run, from configuration to trained state: everything `train` and `evaluate` share."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Sequence
from contextlib import closing
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jax.sharding import Mesh

from vaelab import data, evaluation
from vaelab.checks import UsageError
from vaelab.evaluation import Subject, elbo
from vaelab.runs import memory, workdir
from vaelab.runs.experiment import Experiment
from vaelab.runs.session import session
from vaelab.training.groups import transformation
from vaelab.training.loop import fit
from vaelab.training.metrics import MetricsLog
from vaelab.training.sharding import make_mesh, replicate, replicated
from vaelab.training.sources import InMemory, in_memory
from vaelab.training.state import TrainState, initial_state
from vaelab.training.step import compile_train_steps
from vaelab.types import Array, Examples, PyTree, Saddle, Splits


class Chosen(NamedTuple):
    """The step, variables and averages that the report uses."""

    step: Array  # []
    variables: Saddle
    average: PyTree  # of each constraint, at that step


@dataclasses.dataclass(frozen=True)
class Run:
    """An experiment with its data loaded and checked."""

    experiment: Experiment
    splits: Splits

    @classmethod
    def load(cls, experiment: Experiment, data_dir: str | None) -> Run:
        """Loads the data; raises one sentence where data and configuration do not fit."""
        splits = experiment.data.load(data_dir)
        low, high = experiment.model.decoder.data_range
        data.validate(splits, low=low, high=high)
        _check(experiment, splits)
        return cls(experiment, splits)

    def initial_state(self) -> TrainState:
        experiment = self.experiment
        return initial_state(
            experiment.model,
            experiment.objective,
            self.transformation(),
            self.splits.train,
            jax.random.key(experiment.seed),
            initial_multiplier=experiment.initial_multiplier,
            ema_decay=experiment.ema_decay,
        )

    def divisors(self) -> dict[str, float]:
        """Of each constraint the divisor that makes it relative to its threshold."""
        constraints = self.experiment.objective.constraints
        shape = self.splits.train.x.shape[1:]
        return {name: constraint.divisor(shape) for name, constraint in constraints.items()}

    def transformation(self):
        """The saddle-point transformation of the experiment."""
        experiment = self.experiment
        return transformation(
            experiment.optimiser,
            experiment.dual,
            parameter_groups=experiment.model.parameter_groups,
            num_steps=experiment.num_steps,
            scales=self.divisors(),
            prior_optimiser=experiment.prior_optimiser,
            prior_period=experiment.prior_period,
            clip_norm=experiment.clip_norm,
        )

    def source(self) -> InMemory:
        """The training set, and how batches are drawn from it."""
        experiment = self.experiment
        return in_memory(
            self.splits.train, batch_size=experiment.batch_size, sampler=experiment.sampler
        )

    def compile_steps(self, mesh: Mesh):
        """The run's training steps, `compile_train_steps` of its experiment."""
        experiment = self.experiment
        return compile_train_steps(
            model=experiment.model,
            objective=experiment.objective,
            tx=self.transformation(),
            preprocess=experiment.data.preprocess,
            mesh=mesh,
        )

    def validate(self, variables: Saddle) -> dict[str, float]:
        """What the objective's early stopping maximises, and the ELBO, with the same noise each time."""
        objective = self.experiment.objective
        subject = Subject(self.experiment.model, variables.params, self.splits.validation)
        estimates = evaluation.expectations(
            subject,
            self.key("validation"),
            {"bound": objective.validation, "elbo": elbo},
            num_samples=objective.validation_samples,
            batch_size=min(500, len(self.splits.validation.x)),
        )
        return {f"validation/{name}": estimate.mean for name, estimate in estimates.items()}

    def mesh(self) -> Mesh:
        """All devices; raises one sentence where they cannot share a batch evenly."""
        mesh = make_mesh()
        if self.experiment.batch_size % mesh.shape["data"]:
            raise UsageError(
                f"batch_size = {self.experiment.batch_size} must be a multiple of the number of "
                f"devices, {mesh.shape['data']}."
            )
        return mesh

    def train(self, folder: epath.Path, name: str, overrides: Sequence[str]) -> TrainState:
        """Trains to the end, from the newest checkpoint in the workdir where there is one.

        The workdir is claimed last: a configuration that cannot run leaves nothing behind.
        """
        experiment, mesh = self.experiment, self.mesh()
        workdir.check_claim(folder, name, experiment)  # before the compiler's time is spent
        run_steps, source = self.compile_steps(mesh), self.source()
        on_all = replicated(mesh)
        memory.check_fits(  # traced and compiled here: some mistakes show in it
            run_steps,
            memory.placed(jax.eval_shape(self.initial_state), on_all),
            memory.placed(source, on_all),
            num_steps=experiment.timetable.next_stop(0),
        )
        state = self.initial_state()
        workdir.claim(folder, name, overrides, experiment)
        with (
            session(folder, name, state, experiment.num_steps) as current,
            closing(MetricsLog(folder, resume_step=int(current.state.step))) as metrics,
        ):

            def log(step: int, values: dict[str, float]) -> None:
                metrics.write(step, values)
                current.progress.update(step, values)

            return fit(
                replicate(current.state, mesh),
                replicate(source, mesh),
                run_steps=run_steps,
                timetable=experiment.timetable,
                validate=self.validate,
                log=log,
                save=current.save,
            )

    def subject(self, params: PyTree, data: Examples) -> Subject:
        """The model with these parameters, on these data."""
        return Subject(self.experiment.model, params, data)

    def precise_subject(self, params: PyTree, data: Examples) -> Subject:
        """The same, its prior estimated with `prior_samples` inner samples."""
        return self.subject(params, data).with_prior_samples(self.experiment.prior_samples)

    def show(self, x: Array | np.ndarray) -> data.Shown | None:
        """Data or outputs of the model as images for a plot: `DataSet.show`."""
        return self.experiment.data.show(self.splits.in_data_units(np.asarray(x)))

    def fixed_training_set(self, num_examples: int | None = None) -> Examples:
        """The first training examples, prepared once as a step prepares its batch each time."""
        train = self.splits.train.take(slice(num_examples))
        x = self.experiment.data.preprocess(jax.random.key(0), jnp.asarray(train.x))
        return train._replace(x=np.asarray(x))

    def test_examples(self, num_examples: int | None = None) -> Examples:
        """So many test examples, drawn once for all runs; None, or more than there are, is all.

        The subset is random: static MNIST starts with hard images, and some files cycle through the classes.
        """
        test = self.splits.test
        if num_examples is None or num_examples >= len(test.x):
            return test
        rows = np.random.default_rng(0).permutation(len(test.x))[:num_examples]
        return test.take(np.sort(rows))

    def chosen(self, state: TrainState) -> Chosen:
        """What the report speaks of: the best evaluation under early stopping, else the last state."""
        if self.experiment.patience is not None and np.isfinite(state.best.bound):
            best = state.best
            return Chosen(best.step, best.variables, best.average)
        return Chosen(state.step, state.evaluated, state.opt_state.average)

    def key(self, purpose: str) -> jax.Array:
        """A key of its own for each purpose, from the run's seed."""
        return jax.random.fold_in(
            jax.random.key(self.experiment.seed), zlib.crc32(purpose.encode())
        )


def _check(experiment: Experiment, splits: Splits) -> None:
    """Raises one sentence where the configuration does not fit the data."""
    experiment.sampler.plan(splits.train, experiment.batch_size)
    if len(splits.test.x) < 2:
        raise UsageError(
            "the test split holds one example, which has no standard error: give it at least two."
        )
    if experiment.num_test is not None and experiment.num_test > len(splits.test.x):
        raise UsageError(
            f"num_test = {experiment.num_test} is more than the {len(splits.test.x)} test images: choose "
            f"at most {len(splits.test.x)}."
        )
    experiment.model.check_data(splits.train)
    experiment.model.decoder.check_values(splits.test.x)
    for name, constraint in experiment.objective.constraints.items():
        try:
            constraint.check(splits.train, experiment.model.decoder.num_levels)
        except ValueError as error:
            raise UsageError(f"objective.constraints.{name}: {error}") from None
