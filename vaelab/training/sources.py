"""Sources of batches: the whole training set on the device, or a window of batches."""

from __future__ import annotations

import abc
import dataclasses
from functools import partial

import jax

from vaelab.checks import check_at_least_one
from vaelab.training.samplers import Sampler, Uniform
from vaelab.types import Array, Examples, PRNGKey, PyTree, as_examples


class Source(abc.ABC):
    """Batches of training examples. A source is a pytree: it can be placed on devices and passed to `jax.jit`.

    The batch of a step depends on (key, step) alone.
    """

    @property
    def member_axes(self) -> PyTree:
        """Axis of the members in each leaf, a prefix of this tree. None: all members share the leaves."""
        return None

    @abc.abstractmethod
    def start(self, key: PRNGKey, step: Array) -> PyTree:
        """The arrays that are carried into this step."""

    @abc.abstractmethod
    def next(self, carry: PyTree, key: PRNGKey, step: Array) -> tuple[Examples, PyTree]:
        """The batch of this step, [B, ...], and the arrays that are carried into the next step."""


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["examples", "plan"],
    meta_fields=["sampler", "batch_size"],
)
@dataclasses.dataclass(frozen=True)
class InMemory(Source):
    """The whole training set on the device. `in_memory` makes it."""

    examples: Examples  # [N, ...]
    plan: PyTree  # arrays of the sampler
    sampler: Sampler
    batch_size: int

    def start(self, key: PRNGKey, step: Array) -> PyTree:
        return self.sampler.start(self.plan, key, step, **self._sizes)

    def next(self, carry: PyTree, key: PRNGKey, step: Array) -> tuple[Examples, PyTree]:
        rows, carry = self.sampler.rows(self.plan, carry, key, step, **self._sizes)
        return self.examples.take(rows), carry

    @property
    def _sizes(self) -> dict[str, int]:
        return {"num_examples": len(self.examples.x), "batch_size": self.batch_size}


def in_memory(
    data: Examples | Array, *, batch_size: int, sampler: Sampler | None = None
) -> InMemory:
    """A source of batches from x [N, ...] or `Examples`. The default sampler is `Uniform()`.

    Raises:
      UsageError: the sampler cannot draw batches of this size from these data.

    >>> in_memory(jax.numpy.zeros((10, 2)), batch_size=20)
    Traceback (most recent call last):
    vaelab.UsageError: batch_size = 20 is larger than the training set: choose at most 10.
    """
    check_at_least_one(batch_size=batch_size)
    examples, sampler = as_examples(data), sampler or Uniform()
    return InMemory(examples, sampler.plan(examples, batch_size), sampler, batch_size)


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["examples", "first", "which"],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class Window(Source):
    """The batches of the steps from `first` on, for each of S seeds. `windows.Windows` makes it."""

    examples: Examples  # [S, T, B, ...]
    first: Array  # [], the first step
    which: Array  # [], the seed's place in S; of members [M]

    @property
    def member_axes(self) -> PyTree:
        return Window(None, None, 0)  # type: ignore[arg-type]

    def start(self, key: PRNGKey, step: Array) -> PyTree:
        del key, step
        return ()

    def next(self, carry: PyTree, key: PRNGKey, step: Array) -> tuple[Examples, PyTree]:
        del key
        place = step - self.first
        batch = jax.tree.map(lambda leaf: leaf[self.which, place], self.examples)
        return batch, carry
