"""A run: an experiment with its data, and the pieces that training and evaluation share."""

from __future__ import annotations

import dataclasses
import functools
import zlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from vaelab import data, evaluation
from vaelab.data.show import Shown
from vaelab.evaluation import Subject, elbo, spreading
from vaelab.evaluation.averages import compile_expectations
from vaelab.runs.experiment import Experiment
from vaelab.runs.identity import digest_of
from vaelab.runs.record import to_record
from vaelab.runs.streaming import load_splits, sentence, stream_of
from vaelab.streams import ArrayStream, Stream
from vaelab.training.groups import transformation
from vaelab.training.hooks import Metrics
from vaelab.training.population import Setup
from vaelab.training.sources import InMemory, in_memory
from vaelab.types import Array, Examples, Preprocess, PRNGKey, PyTree, Saddle, Splits


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """An experiment with its data loaded and checked."""

    experiment: Experiment
    splits: Splits
    name: str = "experiment"
    """Name of the experiment in reports and plots."""
    splits_given: bool = False
    """True if the data were handed over in the place of the experiment's data set."""
    stream: Stream | None = None
    """The training set if it is streamed. `splits.train` may be a random subset of it then."""

    @classmethod
    def load(
        cls,
        experiment: Experiment,
        data_dir: str | None = None,
        *,
        splits: Splits | None = None,
        name: str = "experiment",
        streaming: bool | None = None,
    ) -> Run:
        """Loads the data, or takes `splits` in their place, and checks that they fit.

        Shapes that the model leaves out are derived from the data. `streaming` is that of `runs.train`.

        Raises:
          UsageError: data and configuration do not fit: one sentence.
        """
        given = splits is not None
        source = experiment.data.pinned(data_dir) if splits is None else data.Arrays.of(splits)
        if given:
            splits = source.load(data_dir)
            stream = stream_of(splits, streaming)
        else:
            splits, stream = load_splits(source, data_dir, streaming)
        experiment = experiment.with_fields(
            data=experiment.data if given else source,
            model=experiment.model.for_data(splits.train),
        )
        low, high = experiment.model.decoder.data_range
        data.validate(splits, low=low, high=high)
        experiment.check_splits(splits, stream)
        return cls(experiment, splits, name, given, stream)

    @functools.cached_property
    def record(self) -> dict[str, Any]:
        """The experiment as plain JSON values, and a digest of data that were handed over."""
        record = to_record(self.experiment)
        return record | {"splits": digest_of(self.splits)} if self.splits_given else record

    # Training.

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        return self.splits.train.x.shape[1:]

    @property
    def num_train(self) -> int:
        """Number of training examples."""
        return len(self.splits.train.x) if self.stream is None else self.stream.num_examples

    @functools.cached_property
    def sample(self) -> Examples:
        """The training set, or a random subset of bounded size if it is streamed."""
        train = self.splits.train
        return train if self.stream is None else ArrayStream(train).sample()

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about the data, for the user."""
        streamed = () if self.stream is None else (sentence(self.stream),)
        return (*self.splits.conversions, *streamed)

    def divisors(self) -> dict[str, float]:
        """The divisor of each constraint, which makes it relative to its threshold."""
        constraints = self.experiment.objective.constraints
        return {name: c.divisor(self.event_shape) for name, c in constraints.items()}

    def setup(self) -> Setup:
        """Model, objective and transformation."""
        experiment = self.experiment
        tx = transformation(
            experiment.optimiser,
            experiment.dual,
            parameter_groups=experiment.model.parameter_groups,
            num_steps=experiment.num_steps,
            scales=self.divisors(),
            prior_optimiser=experiment.prior_optimiser,
            prior_period=experiment.prior_period,
            clip_norm=experiment.clip_norm,
            skip_norm=experiment.skip_norm,
            skip_limit=experiment.skip_limit,
            nonfinite_limit=experiment.nonfinite_limit,
        )
        return Setup(
            experiment.model,
            experiment.objective,
            tx,
            experiment.initial_multiplier,
            experiment.ema_decay,
        )

    def initial_params(self) -> PyTree:
        """The parameters of the first state."""
        key = jax.random.key(self.experiment.seed)
        return self.setup().initial_state(self.sample, key).variables.params

    def source(self) -> InMemory:
        """The training set, and the order of its batches."""
        experiment = self.experiment
        return in_memory(
            self.splits.train, batch_size=experiment.batch_size, sampler=experiment.sampler
        )

    def validate(self, variables: Saddle) -> Metrics:
        """The bound that early stopping maximises, and the ELBO, each time with the same noise."""
        estimates = self._validation(evaluation.expectations, variables)
        return {f"validation/{name}": np.asarray(e.mean) for name, e in estimates.items()}

    def compile_validation(self, variables: Saddle) -> None:
        """Compiles the program of `validate` ahead, for shapes of the variables on the device.

        It does nothing where evaluations are spread over several devices.
        """
        if spreading.num_places() == 1:
            self._validation(compile_expectations, variables)

    def _validation(self, function: Callable[..., Any], variables: Saddle) -> Any:
        objective = self.experiment.objective
        return function(
            self.subject(variables.params, self.splits.validation),
            self.key("validation"),
            {"bound": objective.validation, "elbo": elbo},
            num_samples=objective.validation_samples,
            batch_size=min(500, len(self.splits.validation.x)),
        )

    def key(self, purpose: str) -> PRNGKey:
        """A key of its own for each purpose, from the seed of the run."""
        return jax.random.fold_in(
            jax.random.key(self.experiment.seed), zlib.crc32(purpose.encode())
        )

    @functools.cached_property
    def _preprocess(self) -> Preprocess:
        """The data set's preparation of a batch, as one program for each shape."""
        return jax.jit(self.experiment.data.preprocess)

    # Evaluation.

    def subject(self, params: PyTree, data: Examples) -> Subject:
        """The model with these parameters, on these data."""
        return Subject(self.experiment.model, params, data)

    def precise_subject(self, params: PyTree, data: Examples) -> Subject:
        """The same, with the prior estimated from `prior_samples` inner samples."""
        return self.subject(params, data).with_prior_samples(self.experiment.prior_samples)

    def show(self, x: Array | np.ndarray) -> Shown | None:
        """Data, or what the model made of them, as images: `DataSet.show`."""
        return self.experiment.data.show(self.splits.in_data_units(np.asarray(x)))

    def fixed_training_set(self, num_examples: int | None = None) -> Examples:
        """The first training examples, prepared once. A training step prepares its batch each time.

        Of a streamed training set they are the first of the random subset `sample`.
        """
        train = self.sample.take(slice(num_examples))
        return train._replace(x=np.asarray(self._preprocess(jax.random.key(0), train.x)))

    def test_examples(self, num_examples: int | None = None) -> Examples:
        """A random subset of the test examples, the same for all runs. None takes all.

        The subset is random: static MNIST starts with hard images, and some files cycle through the classes.
        """
        return self.splits.test.take(self.test_rows(num_examples))

    def test_rows(self, num_examples: int | None = None) -> np.ndarray:
        """The rows of `test_examples` in the test set."""
        num = len(self.splits.test.x)
        if num_examples is None or num_examples >= num:
            return np.arange(num)
        return np.sort(np.random.default_rng(0).permutation(num)[:num_examples])
