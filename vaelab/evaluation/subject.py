"""The subject of an evaluation: a model, its parameters and the data."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.checks import UsageError
from vaelab.evaluation.spreading import spread
from vaelab.models import Model
from vaelab.types import Array, Examples, PyTree, as_examples


@dataclasses.dataclass(frozen=True)
class Subject:
    """A model with its parameters, and the data [N, *event] (or `Examples`) for its evaluation.

    The first argument of every estimate is a subject. The model may be any object with these
    properties, with or without Flax:

      - It is hashable: it is a static argument of compiled functions.
      - `at(params)` returns an object with the methods of `vaelab.models.Model` that the estimate
        calls. Bounds and log p(x) call `encode` and `terms`, or the object itself, which is both.
        A `Refined` proposal also calls `log_posterior`, `log_prior` and `decode`, and reads `latent_dims` and `bernoulli_levels`.
        `exact_log_likelihood` calls `encode`, `log_posterior`, `log_prior` and `decode`, and reads `latent_dims`,
        `bernoulli_levels` and `exact`.
        Comparisons of prior and posterior call `level_posterior` and `level_log_prior`. `holes` also
        calls `sample_latents`, and a joint `marginal_kl` calls `log_posterior` and `log_prior`.
        Annealing calls `sample_joint`, `log_joint_prior` and `decode`, and reads `bernoulli_levels`. Measures of single levels call
        `resample_level` and `decode`, and read `latent_dims`.
      - `check_data(examples)` raises one sentence if the data do not fit.
      - `conditional` is read by `marginal_kl`, and `with_prior_samples` by the method of that name.

    Raises:
      UsageError: the data are empty, have another shape than the model, or are outside the range of
        its likelihood.
    """

    model: Model
    params: PyTree
    data: Examples | np.ndarray | Array

    def __post_init__(self) -> None:
        examples = as_examples(self.data)
        x = examples.x if isinstance(examples.x, jax.Array) else np.asarray(examples.x)
        if x.ndim == 0:
            raise UsageError(f"the data must be an array [N, ...] of examples, got {x}.")
        object.__setattr__(self, "data", examples._replace(x=x))
        object.__setattr__(self, "params", spread(self.params))
        if len(x) == 0:
            raise UsageError("the data are empty: there is nothing to evaluate.")
        self.model.check_data(self.examples)
        if not jnp.issubdtype(x.dtype, jnp.floating):  # every type gives the same bits
            object.__setattr__(self, "data", examples._replace(x=x.astype(np.float32)))

    @property
    def examples(self) -> Examples:
        """The data as examples."""
        return self.data  # type: ignore[return-value]  # made so by __post_init__

    @property
    def inputs(self) -> Examples:
        """The examples without labels and groups: what a model reads."""
        return self.examples._replace(labels=None, groups=None)

    def take(self, rows: Any) -> Subject:
        """The same subject on some examples. `rows` is an index array or a slice."""
        return dataclasses.replace(self, data=self.examples.take(rows))

    def with_prior_samples(self, num_samples: int) -> Subject:
        """The same subject with another number of inner samples for an estimated log p(z)."""
        return dataclasses.replace(self, model=self.model.with_prior_samples(num_samples))
