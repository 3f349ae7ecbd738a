"""Which examples a step trains on: a sampler turns (key, step) into rows of the training set."""

from __future__ import annotations

import abc
import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.checks import UsageError, classes_of
from vaelab.types import Array, Examples, PRNGKey, PyTree


class Sampler(abc.ABC):
    """The rows of each batch, drawn on the device; a frozen dataclass.

    The rows of a step depend on (key, step) alone. What is costly to draw, such as the order of an
    epoch, is carried from step to step, and `start` draws it anew at any step.
    """

    @abc.abstractmethod
    def plan(self, examples: Examples, batch_size: int) -> PyTree:
        """Arrays that `rows` needs, computed once, on the host.

        Raises:
          UsageError: these examples cannot be drawn in batches of this size.
        """

    def start(
        self, plan: PyTree, key: PRNGKey, step: Array, *, num_examples: int, batch_size: int
    ) -> PyTree:
        """What `rows` carries, for a run that starts at this step. The default carries nothing."""
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
        """Rows of the step's batch, [batch_size] int32, and what the next step carries."""


@dataclasses.dataclass(frozen=True)
class Uniform(Sampler):
    """Every epoch draws a new permutation of the training set, without replacement.

    The last N mod batch_size examples of a permutation are dropped.
    """

    def plan(self, examples: Examples, batch_size: int) -> PyTree:
        if batch_size > len(examples.x):
            raise UsageError(
                f"batch_size = {batch_size} is larger than the training set: choose at most "
                f"{len(examples.x)}."
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
    """The rows of each group, and where they are."""

    order: np.ndarray  # [N] int32, rows sorted by group
    start: np.ndarray  # [G] int32, where each group starts in `order`
    size: np.ndarray  # [G] int32


@dataclasses.dataclass(frozen=True)
class Balanced(Sampler):
    """Every batch holds each group ⌊B/G⌋ or ⌈B/G⌉ times, for B examples of G groups.

    The groups that are drawn once more are a random subset, another one at each step; with G > B a batch
    holds B groups once. Within a group the draw is uniform, with replacement. The groups are
    `Examples.groups`, or the classes where there are no groups.
    """

    def plan(self, examples: Examples, batch_size: int) -> Groups:
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
