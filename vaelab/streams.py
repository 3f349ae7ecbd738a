"""Examples that stay in their files: rows are read when a training step needs them."""

from __future__ import annotations

import abc
import dataclasses
import functools
from collections.abc import Callable, Iterator

import numpy as np

from vaelab.checks import UsageError
from vaelab.types import Examples
from vaelab.untrusted import host_memory

_BLOCK = 2**26  # bytes of x that are read at once
_SAMPLE = 2**28  # bytes of x, as float32, of the random subset that stands for the training set


class Stream(abc.ABC):
    """Examples [N] of one shape. `rows` reads any of them. It is safe in several threads.

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
        """All labels, which a sampler may need."""
        return self.column("labels")

    @functools.cached_property
    def groups(self) -> np.ndarray | None:
        """All groups, which a sampler may need."""
        return self.column("groups")

    def column(self, name: str) -> np.ndarray | None:
        """The labels or groups of all examples. The default reads all examples once."""
        if getattr(self.first, name) is None:
            return None
        blocks = self._blocks(np.arange(self.num_examples))
        return np.concatenate([getattr(self.rows(block), name) for block in blocks])

    @functools.cached_property
    def first(self) -> Examples:
        """The first example, [1, ...], with x as it is stored."""
        return self.rows(np.arange(1))

    @property
    def num_bytes(self) -> int:
        """Bytes of x and context in memory, where they are float32."""
        parts = (self.first.x, self.first.context)
        return self.num_examples * sum(4 * part.size for part in parts if part is not None)

    def read(self, rows: np.ndarray | None = None) -> Examples:
        """The examples of these rows, or all, in memory: x is float32.

        Raises:
          UsageError: they take more than this machine's memory.
        """
        rows = np.arange(self.num_examples) if rows is None else rows
        if 4 * len(rows) * self.first.x.size > host_memory():
            raise UsageError(
                f"{len(rows):,} examples of the shape {self.first.x.shape[1:]} take more than the memory of "
                "this machine: set streaming to True."
            )
        fields: list[np.ndarray | None] = [
            None if leaf is None else np.empty((len(rows), *leaf.shape[1:]), leaf.dtype)
            for leaf in with_float_x(self.first)
        ]
        start = 0
        for block in self._blocks(rows):
            for whole, part in zip(fields, with_float_x(self.rows(block)), strict=True):
                if whole is not None:
                    whole[start : start + len(block)] = part
            start += len(block)
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

    def _blocks(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        """The rows, cut into blocks that are read at once."""
        size = max(1, _BLOCK // max(1, self.first.x.nbytes))
        return (rows[start : start + size] for start in range(0, len(rows), size))


def with_float_x(examples: Examples) -> Examples:
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

    def column(self, name: str) -> np.ndarray | None:
        return getattr(self.examples, name)


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

    def column(self, name: str) -> np.ndarray | None:
        whole = getattr(self.stream, name)
        return None if whole is None else whole[self.chosen]


@dataclasses.dataclass(frozen=True, eq=False)
class Mapped(Stream):
    """A stream of examples that a function of them, with float32 x, changes."""

    stream: Stream
    function: Callable[[Examples], Examples]

    @property
    def num_examples(self) -> int:
        return self.stream.num_examples

    def rows(self, rows: np.ndarray) -> Examples:
        return self.function(with_float_x(self.stream.rows(rows)))
