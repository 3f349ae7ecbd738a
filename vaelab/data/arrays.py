"""Arrays as a data set."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelab.checks import UsageError
from vaelab.data import show
from vaelab.data.conversion import as_array, as_floats, as_integers, blocks
from vaelab.data.dataset import DataSet
from vaelab.data.parts import Fractions, check_cut, cut, rows_of_parts
from vaelab.data.show import Shown
from vaelab.data.validation import validate
from vaelab.types import Examples, Scaling, Splits, as_examples


@dataclasses.dataclass(frozen=True, eq=False)
class Arrays(DataSet):
    """Examples in memory: x [N, *event], and optional labels, context and groups.

    Any numbers become float32: uint8 is divided by 255, other integers and booleans keep their values.
    `Splits.conversions` says what was converted. Validation and test are arrays or `Examples` of their
    own. A part that is not given is cut from x at random, with the size of its share. The cut takes
    examples one by one: if a group must not be split, give the parts yourself. The arrays are copied.
    Two data sets are equal if all their arrays are equal: config.json holds shape, type and SHA-256.

    Raises:
      UsageError: arrays that hold no numbers, or numbers that float32 cannot hold; shapes or lengths
        that do not fit; values that are not finite; fractions that leave a part empty.

    >>> splits = Arrays(np.zeros((20, 3), np.float32), np.arange(20)).load()
    >>> [len(part.x) for part in splits.parts.values()]
    [16, 2, 2]
    """

    x: Any
    """Training examples [N, *event]."""
    labels: Any = None
    """Classes, integers [N], or targets, floats [N] or [N, T]."""
    _: dataclasses.KW_ONLY
    context: Any = None
    """Inputs of a conditional model, [N, *event]."""
    groups: Any = None
    """Integers [N]: examples with the same integer belong together."""
    validation: Any = None
    """Validation examples, an array or `Examples`."""
    test: Any = None
    """Test examples, an array or `Examples`."""
    fractions: Fractions = (0.8, 0.1, 0.1)
    """Shares of train, validation and test. Only the shares of parts that are cut from x count."""
    seed: int = 0
    """Seed of the cut."""
    scaling: Scaling | None = None
    """Map that x has been through already, as in `Splits.scaling`."""
    conversions: tuple[str, ...] = ()
    """Sentences about conversions, as in `Splits.conversions`. Those made here are added."""

    def __post_init__(self) -> None:
        check_cut(self.fractions, self.seed)
        said: list[str] = []
        given = Examples(self.x, self.labels, self.context, self.groups)
        for name, value in _converted("", given, said)._asdict().items():
            object.__setattr__(self, name, value)
        for name in ("validation", "test"):
            if (part := getattr(self, name)) is not None:
                part = _converted(f"{name}.", as_examples(part), said)
                object.__setattr__(self, name, part)
        object.__setattr__(self, "conversions", (*self.conversions, *said))
        # Validation precedes the cut: a sentence names the row of the array that was given.
        given = self._given
        validate(
            Splits(given, self.validation or given, self.test or given), low=-np.inf, high=np.inf
        )
        rows_of_parts(len(self.x), self._shares, self.seed)  # raises if a part is empty

    @classmethod
    def of(cls, splits: Splits) -> Arrays:
        """The data set whose `load` returns these splits, checked and converted."""
        train = splits.train
        return cls(
            train.x, train.labels, context=train.context, groups=train.groups,
            validation=splits.validation, test=splits.test, scaling=splits.scaling,
            conversions=splits.conversions,
        )  # fmt: skip

    @property
    def num_levels(self) -> int | None:
        """2 or 256 if the training values are multiples of 1 or 1/255 from 0 to 1, else None."""
        return next((n for n in (2, 256) if self._in_unit_range and self._has_levels(n)), None)

    def load(self, data_dir: str | None = None) -> Splits:
        del data_dir
        parts = {"validation": self.validation, "test": self.test}
        parts |= cut(self._given, self._shares, self.seed)
        return Splits(**parts, scaling=self.scaling, conversions=self.conversions)

    def show(self, x: npt.ArrayLike) -> Shown | None:
        """Images, rescaled from the range of the training part unless that is within [0, 1]."""
        if self.x.ndim == 4 and not self._in_unit_range:
            return show.images(x, low=float(self.x.min()), high=float(self.x.max()))
        return show.images(x)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Arrays) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    def __repr__(self) -> str:
        return f"Arrays({self.x.dtype} {self.x.shape}, sha256 {digest(self.x)['sha256'][:8]})"

    @property
    def _given(self) -> Examples:
        return Examples(self.x, self.labels, self.context, self.groups)

    @property
    def _shares(self) -> dict[str, float]:
        """The shares of the parts that are cut from x."""
        parts = {"train": None, "validation": self.validation, "test": self.test}
        shares = zip(parts.items(), self.fractions, strict=True)
        return {name: share for (name, part), share in shares if part is None}

    @functools.cached_property
    def _in_unit_range(self) -> bool:
        return bool(self.x.min() >= 0 and self.x.max() <= 1)

    def _has_levels(self, num_levels: int) -> bool:
        """True if all training values are multiples of 1 / (num_levels − 1)."""
        steps = (self.x[rows] * np.float32(num_levels - 1) for rows in blocks(self.x))
        return all(np.abs(step - np.rint(step)).max() < 1e-3 for step in steps)

    @functools.cached_property
    def _identity(self) -> tuple:
        arrays = [*self._given]
        for part in (self.validation, self.test):
            arrays += [None] * len(Examples._fields) if part is None else part
        arrays += [] if self.scaling is None else map(np.asarray, self.scaling)
        digests = (None if array is None else tuple(digest(array).items()) for array in arrays)
        return (*digests, self.fractions, self.seed)


def digest(array: np.ndarray) -> dict[str, Any]:
    """Plain values that identify an array: shape, type and SHA-256 of its bytes.

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


def _converted(where: str, given: Examples, said: list[str]) -> Examples:
    """Read-only arrays of the types of training. `where` is the prefix of their names in sentences."""

    def floats(field: str, value: Any) -> np.ndarray:
        values, sentences = as_floats(f"{where}{field}", value)
        said.extend(sentences)
        return values

    x = floats("x", given.x)
    context = None if given.context is None else floats("context", given.context)
    labels = groups = None
    if given.labels is not None:
        labels = as_array(f"{where}labels", given.labels)
        if labels.dtype.kind in "OSUMm":
            raise UsageError(
                f"{where}labels must be integers, of classes from 0, or floats, got {labels.dtype}: number "
                "classes with np.unique(labels, return_inverse=True)[1]."
            )
        whole = labels.dtype.kind in "biu"
        labels = as_integers(f"{where}labels", labels) if whole else floats("labels", labels)
    if given.groups is not None:
        groups = as_integers(f"{where}groups", given.groups)
    examples = Examples(x, labels, context, groups)
    for name, value in examples._asdict().items():
        if value is not None and (value.ndim < 1 or len(value) != len(x)):
            raise UsageError(
                f"{where}{name} must have one entry for each of the {len(x)} examples of {where}x, "
                f"got the shape {value.shape}."
            )
    return examples
