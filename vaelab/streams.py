"""Examples that stay in their files: rows are read when a training step needs them."""

from __future__ import annotations

import abc
import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from vaelab.types import Examples, Scaling, Splits

_BLOCK = 2**26  # bytes of x that are read at once
_SAMPLE = 2**28  # bytes of x, as float32, of the random subset that stands for the training set


class Stream(abc.ABC):
    """Examples [N] of one shape. `rows` reads any of them, and is safe in several threads.

    x is uint8, which stands for multiples of 1/255, or float32. The device divides bytes by 255, so that
    files, memory and bus move one byte for each value.

    >>> stream = ArrayStream(Examples(np.uint8([[0], [51], [255]])))
    >>> stream.rows(np.array([2, 1])).x.ravel(), stream.read(np.array([2, 1])).x.ravel()
    (array([255,  51], dtype=uint8), array([1. , 0.2], dtype=float32))
    """

    @property
    @abc.abstractmethod
    def num_examples(self) -> int:
        """Number of examples N."""

    @abc.abstractmethod
    def rows(self, rows: np.ndarray) -> Examples:
        """The examples of these rows, with x as it is stored. Integers [B], in any order.

        Raises:
          UsageError: a file that cannot be read, or values that do not fit.
        """

    @functools.cached_property
    def labels(self) -> np.ndarray | None:
        """All labels, which a sampler may need. The default reads all examples once."""
        return self._column("labels")

    @functools.cached_property
    def groups(self) -> np.ndarray | None:
        """All groups, which a sampler may need. The default reads all examples once."""
        return self._column("groups")

    @functools.cached_property
    def first(self) -> Examples:
        """The first example, [1, ...], with x as it is stored."""
        return self.rows(np.arange(1))

    @property
    def x(self) -> np.ndarray:
        """An outline of x: its shape [N, *event], filled with NaN, which takes no memory."""
        nan = np.full([], np.nan, np.float32)
        return np.broadcast_to(nan, (self.num_examples, *self.first.x.shape[1:]))

    @property
    def num_bytes(self) -> int:
        """Bytes of x and context in memory, where they are float32."""
        parts = (self.first.x, self.first.context)
        return self.num_examples * sum(4 * part.size for part in parts if part is not None)

    def read(self, rows: np.ndarray | None = None) -> Examples:
        """The examples of these rows, or all, in memory: x is float32."""
        rows = np.arange(self.num_examples) if rows is None else rows
        size = max(1, _BLOCK // max(1, self.first.x.nbytes))
        blocks = [rows[start : start + size] for start in range(0, len(rows), size)]
        fields: list[np.ndarray | None] = [
            None if leaf is None else np.empty((len(rows), *leaf.shape[1:]), leaf.dtype)
            for leaf in as_floats(self.first)
        ]
        for index, block in enumerate(blocks):
            for whole, part in zip(fields, as_floats(self.rows(block)), strict=True):
                if whole is not None:
                    whole[index * size : index * size + len(block)] = part
        return Examples(*fields)

    def sample(self, num_bytes: int = _SAMPLE) -> Examples:
        """All examples if x fits into these bytes as float32, else a random subset, the same each time."""
        num = max(1, num_bytes // max(1, 4 * self.first.x.size))
        if num >= self.num_examples:
            return self.read()
        chosen = np.random.default_rng(0).choice(self.num_examples, num, replace=False)
        return self.read(np.sort(chosen))

    def take(self, rows: np.ndarray) -> Stream:
        """The stream of these rows."""
        return Rows(self, rows)

    def map(self, function: Callable[[Examples], Examples]) -> Stream:
        """The stream of examples to which `function` is applied after reading. It keeps their number."""
        return Mapped(self, function)

    def _column(self, name: str) -> np.ndarray | None:
        if getattr(self.first, name) is None:
            return None
        size = max(1, _BLOCK // max(1, self.first.x.nbytes))
        starts = range(0, self.num_examples, size)
        blocks = (np.arange(s, min(s + size, self.num_examples)) for s in starts)
        return np.concatenate([getattr(self.rows(block), name) for block in blocks])


def as_floats(examples: Examples) -> Examples:
    """The examples with float32 x: bytes are divided by 255."""
    if examples.x.dtype != np.uint8:
        return examples
    return examples._replace(x=np.divide(examples.x, np.float32(255), dtype=np.float32))


@dataclasses.dataclass(frozen=True, eq=False)
class ArrayStream(Stream):
    """Arrays in memory, or mapped from files. `convert` is applied to each x that is read."""

    examples: Examples
    convert: Callable[[np.ndarray], np.ndarray] = np.asarray

    @property
    def num_examples(self) -> int:
        return len(self.examples.x)

    def rows(self, rows: np.ndarray) -> Examples:
        part = self.examples.take(rows)
        return part._replace(x=self.convert(part.x))

    @functools.cached_property
    def labels(self) -> np.ndarray | None:
        return self.examples.labels

    @functools.cached_property
    def groups(self) -> np.ndarray | None:
        return self.examples.groups


@dataclasses.dataclass(frozen=True, eq=False)
class Rows(Stream):
    """Some rows of a stream."""

    stream: Stream
    chosen: np.ndarray  # [N]

    @property
    def num_examples(self) -> int:
        return len(self.chosen)

    def rows(self, rows: np.ndarray) -> Examples:
        return self.stream.rows(self.chosen[rows])

    @property
    def num_bytes(self) -> int:
        return self.stream.num_bytes * len(self.chosen) // self.stream.num_examples

    @functools.cached_property
    def labels(self) -> np.ndarray | None:
        labels = self.stream.labels
        return None if labels is None else labels[self.chosen]

    @functools.cached_property
    def groups(self) -> np.ndarray | None:
        groups = self.stream.groups
        return None if groups is None else groups[self.chosen]


@dataclasses.dataclass(frozen=True, eq=False)
class Mapped(Stream):
    """A stream of examples that a function of them, with float32 x, changes."""

    stream: Stream
    function: Callable[[Examples], Examples]

    @property
    def num_examples(self) -> int:
        return self.stream.num_examples

    def rows(self, rows: np.ndarray) -> Examples:
        return self.function(as_floats(self.stream.rows(rows)))


@dataclasses.dataclass(frozen=True, eq=False)
class Loaded(Stream):
    """A stream that is loaded into the memory when it is used, and changed by a function of all examples."""

    stream: Stream
    function: Callable[[Examples], Examples]

    @property
    def num_examples(self) -> int:
        return self.stream.num_examples

    def rows(self, rows: np.ndarray) -> Examples:
        return self._examples.take(rows)

    @functools.cached_property
    def _examples(self) -> Examples:
        return self.function(self.stream.read())


class StreamedSplits(NamedTuple):
    """The three parts of a data set, none of them in memory."""

    train: Stream
    validation: Stream
    test: Stream
    scaling: Scaling | None = None  # as in `Splits`
    conversions: tuple[str, ...] = ()  # as in `Splits`

    def map(self, function: Callable[[Examples], Examples]) -> StreamedSplits:
        """The splits with `function` applied to the examples of each part."""
        train, validation, test = (
            part.map(function) for part in (self.train, self.validation, self.test)
        )
        return self._replace(train=train, validation=validation, test=test)

    def sampled(self, num_bytes: int) -> Splits:
        """Validation and test in memory, at most `num_bytes` of each, and a random subset of train."""
        said: list[Any] = []
        parts = {}
        for name, stream in (("validation", self.validation), ("test", self.test)):
            parts[name] = part = stream.sample(num_bytes)
            if len(part.x) < stream.num_examples:
                said.append(
                    f"{name} is a random subset of {len(part.x):,} of {stream.num_examples:,} examples, "
                    f"which fills {num_bytes / 2**30:.3g} GiB of memory."
                )
        return Splits(
            self.train.sample(), **parts, scaling=self.scaling,
            conversions=(*self.conversions, *said),
        )  # fmt: skip
