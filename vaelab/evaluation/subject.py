"""What is evaluated: a model, its parameters and the data."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from vaelab.checks import UsageError
from vaelab.models import Model
from vaelab.types import Array, Examples, PyTree, as_examples


@dataclasses.dataclass(frozen=True)
class Subject:
    """A model with its parameters, and the data [N, *event] (or `Examples`) that it is evaluated on.

    Every function of this package takes a subject first. Of the model it needs these things, so any
    object that has them will do, with or without Flax:

      - it is hashable: it becomes a static argument of compiled functions;
      - `at(params)` returns an object with the methods of `vaelab.models.Model` that an estimate is
        made of: `encode` and `terms` (and a call, which is both) for bounds and log p(x),
        `level_posterior` and `level_log_prior` for what compares prior and posterior, also
        `sample_latents` for `holes` and `log_posterior` and `log_prior` for a joint `marginal_kl`;
        `sample_joint`, `log_joint_prior` and `decode` for annealing;
      - `check_data(examples)` raises one sentence where the data do not fit;
      - `conditional` for `marginal_kl`, and `with_prior_samples` for the method here of that name.

    Raises:
      UsageError: the data are empty, of another shape than the model's, or outside the range of its
        likelihood.
    """

    model: Model
    params: PyTree
    data: Examples | np.ndarray | Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", as_examples(self.data))
        if len(self.examples.x) == 0:
            raise UsageError("the data are empty: there is nothing to evaluate.")
        self.model.check_data(self.examples)

    @property
    def examples(self) -> Examples:
        """The data as examples."""
        return self.data  # type: ignore[return-value]  # made so by __post_init__

    def take(self, rows: Any) -> Subject:
        """The same subject on some of the examples: an index array, or a slice."""
        return dataclasses.replace(self, data=self.examples.take(rows))

    def with_prior_samples(self, num_samples: int) -> Subject:
        """The same subject with another number of inner samples where log p(z) is estimated."""
        return dataclasses.replace(self, model=self.model.with_prior_samples(num_samples))
