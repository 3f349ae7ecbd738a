"""Arrays of your own as a data set."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelab.checks import UsageError
from vaelab.data import show
from vaelab.data.dataset import DataSet
from vaelab.data.parts import Fractions, check_fractions, cut
from vaelab.data.validation import validate
from vaelab.types import Examples, Splits, as_examples


@dataclasses.dataclass(frozen=True, eq=False)
class Arrays(DataSet):
    """Examples in memory: x [N, *event] with labels, context and groups where there are any.

    Bytes, uint8, are divided by 255; booleans become 0 and 1; floats keep their values as float32.
    Validation and test are arrays or `Examples` of their own; one that is not given is cut from x at
    random, so that the parts cut from x have the sizes of their `fractions`. Examples are drawn one by
    one: give parts of their own where a group must not be split. Two of them are equal if all
    their arrays are: config.json holds shape, type and SHA-256 of each. The arrays are copied.

    Raises:
      UsageError: arrays of other types, shapes or lengths, values that are not finite, or fractions that
        leave a part empty or do not sum to 1.

    >>> splits = Arrays(np.zeros((20, 3)), np.arange(20)).load()
    >>> [len(part.x) for part in splits.parts.values()]
    [16, 2, 2]
    """

    x: Any
    """training examples [N, *event]"""
    labels: Any = None
    """classes, integers [N], or targets, floats [N] or [N, T]"""
    _: dataclasses.KW_ONLY
    context: Any = None
    """what a conditional model is given, [N, *event]"""
    groups: Any = None
    """integers [N]: examples that belong together"""
    validation: Any = None
    """validation examples, an array or `Examples`"""
    test: Any = None
    """test examples, an array or `Examples`"""
    fractions: Fractions = (0.8, 0.1, 0.1)
    """shares of train, validation and test; only those of parts that are cut from x count"""
    seed: int = 0
    """of the cut"""

    def __post_init__(self) -> None:
        check_fractions(self.fractions)
        given = Examples(self.x, self.labels, self.context, self.groups)
        for name, value in _as_training_takes("", given)._asdict().items():
            object.__setattr__(self, name, value)
        for name in ("validation", "test"):
            if (part := getattr(self, name)) is not None:
                part = _as_training_takes(f"{name}.", as_examples(part))
                object.__setattr__(self, name, part)
        given = Examples(self.x, self.labels, self.context, self.groups)
        # Before the cut, so that a sentence names the row as it was given.
        splits = Splits(given, self.validation or given, self.test or given)
        validate(splits, low=-np.inf, high=np.inf)
        self.load()  # raises if a part of the cut is empty

    @property
    def num_levels(self) -> int | None:
        """2 or 256 if all values of the training part are among so many levels from 0 to 1, else None."""
        for levels in (2, 256):
            steps = self.x * np.float32(levels - 1)
            if self._in_unit_range and np.abs(steps - np.rint(steps)).max() < 1e-3:
                return levels
        return None

    @property
    def _in_unit_range(self) -> bool:
        return bool(self.x.min() >= 0 and self.x.max() <= 1)

    def load(self, data_dir: str | None = None) -> Splits:
        del data_dir
        given = {"validation": self.validation, "test": self.test}
        shares = dict(zip(("train", *given), self.fractions, strict=True))
        shares = {name: share for name, share in shares.items() if given.get(name) is None}
        everything = Examples(self.x, self.labels, self.context, self.groups)
        return Splits(**(given | cut(everything, shares, self.seed)))

    def show(self, x: npt.ArrayLike) -> np.ndarray | None:
        """Images, their range that of the training part where that is not within [0, 1]."""
        if self.x.ndim == 4 and not self._in_unit_range:
            low, high = self.x.min(), self.x.max()
            x = (np.asarray(x) - low) / (high - low if high > low else 1)
        return show.images(x)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Arrays) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    def __repr__(self) -> str:
        return f"Arrays({self.x.dtype} {self.x.shape}, sha256 {digest(self.x)['sha256'][:8]})"

    @functools.cached_property
    def _identity(self) -> tuple:
        parts = [getattr(self, name) for name in ("x", "labels", "context", "groups")]
        for part in (self.validation, self.test):
            parts += [None] * len(Examples._fields) if part is None else part
        digests = (None if part is None else tuple(digest(part).items()) for part in parts)
        return (*digests, self.fractions, self.seed)


def digest(array: np.ndarray) -> dict[str, Any]:
    """An array as plain values that tell it from others: shape, type and SHA-256 of its bytes.

    >>> digest(np.zeros((2, 3), np.float32))["shape"]
    (2, 3)
    """
    content = np.ascontiguousarray(array)
    return {
        "type": "array",
        "shape": array.shape,
        "dtype": str(array.dtype),
        "sha256": hashlib.sha256(content.data.cast("B")).hexdigest(),
    }


def _as_training_takes(where: str, given: Examples) -> Examples:
    """Read-only copies of the types that training takes; `where` begins the names in sentences."""
    x = _values(f"{where}x", given.x)
    context = None if given.context is None else _values(f"{where}context", given.context)
    labels, groups = given.labels, given.groups
    if labels is not None:
        labels = np.asarray(labels)
        if labels.dtype.kind not in "biuf":
            raise UsageError(
                f"{where}labels must be integers, of classes from 0, or floats, got {labels.dtype}: number "
                "classes with np.unique(labels, return_inverse=True)[1]."
            )
        labels = _integers(f"{where}labels", labels) if labels.dtype.kind in "biu" else _values(f"{where}labels", labels)  # fmt: skip
    if groups is not None:
        groups = _integers(f"{where}groups", np.asarray(groups))
    examples = Examples(x, labels, context, groups)
    for name, value in examples._asdict().items():
        if value is not None:
            if value.ndim < 1 or len(value) != len(x):
                raise UsageError(
                    f"{where}{name} must have one entry for each of the {len(x)} examples of {where}x, "
                    f"got the shape {value.shape}."
                )
            value.flags.writeable = False
    return examples


def _values(name: str, given: Any) -> np.ndarray:
    array = np.asarray(given)
    if array.ndim < 1 or (array.dtype.kind not in "fb" and array.dtype != np.uint8):
        raise UsageError(
            f"{name} must be bytes (uint8), booleans or floats [N, ...], got {array.dtype} of the shape "
            f"{array.shape}: convert it with astype(np.float32)."
        )
    values = array.astype(np.float32)  # a copy
    return values / np.float32(255) if array.dtype == np.uint8 else values


def _integers(name: str, array: np.ndarray) -> np.ndarray:
    integers = array.astype(np.int32)
    if array.dtype.kind not in "biu" or not np.array_equal(integers, array):
        raise UsageError(f"{name} must be integers that fit 32 bits, got {array.dtype}.")
    return integers
