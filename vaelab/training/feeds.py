"""Feeds: what hands a source of batches to each dispatch of training steps."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, Self

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from vaelab.training import memory
from vaelab.training.sharding import replicate, replicated
from vaelab.training.sources import Source
from vaelab.training.state import TrainState
from vaelab.types import Array


class Feed(abc.ABC):
    """Hands a source to each dispatch. A context: leaving it ends the threads that read ahead."""

    capacity: int
    """Largest number of steps of one dispatch."""

    @property
    @abc.abstractmethod
    def shapes(self) -> Source:
        """The shapes of a source, as they lie on the devices."""

    @abc.abstractmethod
    def parts(self, step: int, num_steps: int) -> Iterator[tuple[Source, int]]:
        """Sources of the steps from `step` on, one after the other, and the number of steps of each."""

    def __enter__(self) -> Self:
        return self

    @abc.abstractmethod
    def __exit__(self, *error: object) -> None:
        """Ends the reading."""


class Resident(Feed):
    """A source that stays on the devices."""

    def __init__(self, make: Callable[[], Source], mesh: Mesh, capacity: int):
        self._make, self._mesh, self.capacity = make, mesh, capacity
        self._placed: Source | None = None

    @property
    def shapes(self) -> Source:
        return memory.placed(self._make(), replicated(self._mesh))

    def parts(self, step: int, num_steps: int) -> Iterator[tuple[Source, int]]:
        del step
        if self._placed is None:
            self._placed = replicate(self._make(), self._mesh)
        yield self._placed, num_steps

    def __exit__(self, *error: object) -> None:
        self._placed = None


@dataclasses.dataclass
class FedSteps:
    """Steps whose source comes from a feed: (state, *, num_steps) -> (state, metrics), from `step` on."""

    run_steps: Any
    feed: Feed
    step: int

    def __call__(self, state: TrainState, *, num_steps: int) -> tuple[TrainState, dict[str, Array]]:
        parts = []
        for source, steps in self.feed.parts(self.step, num_steps):
            state, metrics = self.run_steps(state, source, num_steps=steps)
            parts.append((metrics, steps))
        self.step += num_steps
        return state, _joined(parts)


def _joined(parts: list[tuple[dict[str, Array], int]]) -> dict[str, Array]:
    """The metrics of several dispatches as those of one."""
    if len(parts) == 1:
        return parts[0][0]
    valid = [
        jax.tree.map(lambda value: value[..., :steps], metrics)  # noqa: B023  called at once
        for metrics, steps in parts
    ]
    return jax.tree.map(lambda *values: jnp.concatenate(values, axis=-1), *valid)
