"""Samplers: which rows of the training set a step trains on."""

from __future__ import annotations

import abc
import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.checks import UsageError, classes_of
from vaelab.streams import Stream
from vaelab.types import Array, Examples, PRNGKey, PyTree


class Sampler(abc.ABC):
    """Draws the rows of each batch on the device. Each sampler is a frozen dataclass.

    The rows of a step depend on (key, step) alone. A sampler may carry arrays from step to step, such as
    the order of an epoch, which is costly to draw. `start` draws the same arrays for any step.
    """

    @abc.abstractmethod
    def plan(self, examples: Examples | Stream, batch_size: int) -> PyTree:
        """Arrays that `rows` needs, computed once on the host from number, labels and groups of the examples.

        Raises:
          UsageError: these examples cannot be drawn in batches of this size.
        """

    def start(
        self, plan: PyTree, key: PRNGKey, step: Array, *, num_examples: int, batch_size: int
    ) -> PyTree:
        """The arrays that are carried into this step. The default carries none."""
        del plan, key, step, num_examples, batch_size
        return ()

    @abc.abstractmethod
    def rows(
        self,
        plan: PyTree,
        carry: PyTree,
        key: PRNGKey,
        step: Array,
        *,
        num_examples: int,
        batch_size: int,
    ) -> tuple[Array, PyTree]:
        """Rows of this step's batch, [batch_size] int32, and the arrays that are carried into the next step."""


@dataclasses.dataclass(frozen=True)
class Uniform(Sampler):
    """Draws without replacement: every epoch has a new permutation of the training set.

    The last N mod batch_size examples of a permutation are dropped.
    """

    def plan(self, examples: Examples | Stream, batch_size: int) -> PyTree:
        if batch_size > examples.num_examples:
            raise UsageError(
                f"batch_size = {batch_size} is larger than the training set: choose at most "
                f"{examples.num_examples}."
            )
        return ()

    def start(
        self, plan: PyTree, key: PRNGKey, step: Array, *, num_examples: int, batch_size: int
    ) -> Array:
        del plan
        epoch = step // (num_examples // batch_size)
        return jax.random.permutation(jax.random.fold_in(key, epoch), num_examples)

    def rows(
        self,
        plan: PyTree,
        carry: Array,
        key: PRNGKey,
        step: Array,
        *,
        num_examples: int,
        batch_size: int,
    ) -> tuple[Array, Array]:
        def shuffle(step: Array) -> Array:
            return self.start(plan, key, step, num_examples=num_examples, batch_size=batch_size)

        position = step % (num_examples // batch_size)
        order = jax.lax.cond(position == 0, shuffle, lambda _: carry, step)
        return jax.lax.dynamic_slice_in_dim(order, position * batch_size, batch_size), order


class Groups(NamedTuple):
    """The rows of each group."""

    order: np.ndarray  # [N] int32, rows sorted by group
    start: np.ndarray  # [G] int32, position in `order` of the first row of each group
    size: np.ndarray  # [G] int32, number of rows of each group


@dataclasses.dataclass(frozen=True)
class Balanced(Sampler):
    """Every batch of B examples holds each of G groups ⌊B/G⌋ or ⌈B/G⌉ times.

    The groups with one example more are a random subset, which changes at each step. If G > B, a batch
    holds one example of each of B groups. Examples of a group are drawn uniformly, with replacement. The
    groups are `Examples.groups`. Without groups they are the classes.
    """

    def plan(self, examples: Examples | Stream, batch_size: int) -> Groups:
        groups = examples.groups
        if groups is None:
            try:
                groups = classes_of(examples.labels)
            except ValueError as error:
                raise UsageError(
                    f"sampler Balanced needs groups or classes: {error} Or choose sampler Uniform."
                ) from None
        _, size = np.unique(groups, return_counts=True)
        order = np.argsort(groups, kind="stable")
        start = np.cumsum(size) - size
        return Groups(*(part.astype(np.int32) for part in (order, start, size)))

    def rows(
        self,
        plan: Groups,
        carry: PyTree,
        key: PRNGKey,
        step: Array,
        *,
        num_examples: int,
        batch_size: int,
    ) -> tuple[Array, PyTree]:
        del num_examples
        num_groups = plan.size.shape[0]
        group_key, place_key = jax.random.split(jax.random.fold_in(key, step))
        everyone = jnp.repeat(jnp.arange(num_groups), batch_size // num_groups)
        more = jax.random.permutation(group_key, num_groups)[: batch_size % num_groups]
        groups = jnp.concatenate([everyone, more])
        place = jax.random.randint(place_key, groups.shape, 0, jnp.asarray(plan.size)[groups])
        return jnp.asarray(plan.order)[jnp.asarray(plan.start)[groups] + place], carry
