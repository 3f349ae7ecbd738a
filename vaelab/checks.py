"""Checks of settings and data at the public door. Each error is one sentence. Traced values pass."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from numbers import Real
from typing import Any

import jax
import numpy as np


class UsageError(ValueError):
    """A mistake that the user can correct. The message is one sentence: field, value and remedy.

    Commands print the message alone. Every other exception is a bug and shows its traceback.
    """


class UndefinedError(UsageError):
    """A quantity that has no meaning for a model or its data. The message is the reason.

    Commands that measure several quantities print the reason and continue with the next quantity.
    """


class MissingFileError(UsageError, FileNotFoundError):
    """A file that does not exist. The message names the file and says how to get it."""


class DamagedFileError(UsageError):
    """A file that cannot be read. The message names the file and says what is wrong with it."""


class MissingPackageError(UsageError, ImportError):
    """A package that is not installed. The message names the extra that installs it."""

    @classmethod
    def of(cls, error: ModuleNotFoundError, what: str) -> MissingPackageError:
        """The sentence for a part of vaelab that needs the extra `runs`."""
        return cls(
            f"{what} needs the package {error.name}, which is not installed: run python -m pip install "
            '"vaelab[runs]".'
        )


for _error in (UsageError, UndefinedError, MissingFileError, DamagedFileError, MissingPackageError):
    _error.__module__ = "vaelab"  # tracebacks show the public name


def is_number(value: Any) -> bool:
    """True for a Python or numpy number, False for None, arrays and traced values."""
    return isinstance(value, Real)


def check_at_least_one(**values: Any) -> None:
    """Raises if a count is below 1 or not whole. None passes.

    >>> check_at_least_one(num_samples=0)
    Traceback (most recent call last):
    vaelab.UsageError: num_samples must be at least 1, got 0.
    """
    for name, value in _numbers(values):
        if value < 1:
            raise UsageError(f"{name} must be at least 1, got {value}.")
        if value % 1:
            raise UsageError(f"{name} must be a whole number, got {value}.")


def check_positive(**values: Any) -> None:
    """Raises if a number is not positive and finite. None passes.

    >>> check_positive(learning_rate=-1.0)
    Traceback (most recent call last):
    vaelab.UsageError: learning_rate must be positive and finite, got -1.0.
    """
    for name, value in _numbers(values):
        if not 0 < value < math.inf:
            raise UsageError(f"{name} must be positive and finite, got {value}.")


def check_not_negative(**values: Any) -> None:
    """Raises if a number is below 0 or not finite. None passes.

    >>> check_not_negative(weight_decay=-0.1)
    Traceback (most recent call last):
    vaelab.UsageError: weight_decay must be finite and not negative, got -0.1.
    """
    for name, value in _numbers(values):
        if not 0 <= value < math.inf:
            raise UsageError(f"{name} must be finite and not negative, got {value}.")


def check_fraction(**values: Any) -> None:
    """Raises if a number lies outside [0, 1). None passes.

    >>> check_fraction(decay=1.5)
    Traceback (most recent call last):
    vaelab.UsageError: decay must lie in [0, 1), got 1.5.
    """
    for name, value in _numbers(values):
        if not 0 <= value < 1:
            raise UsageError(f"{name} must lie in [0, 1), got {value}.")


def _numbers(values: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The numbers among settings. None, arrays and traced values pass; text and containers do not."""
    for name, value in values.items():
        if isinstance(value, str | bytes | Sequence | Mapping):
            raise UsageError(f"{name} must be a number, got {value!r}.")
        if is_number(value):
            yield name, value


def check_sizes(**values: Any) -> None:
    """Raises one sentence if sizes of layers are not a tuple of positive whole numbers.

    >>> check_sizes(hidden=16)
    Traceback (most recent call last):
    vaelab.UsageError: hidden must be a tuple of positive whole numbers, such as (16,), got 16.
    """
    for name, value in values.items():
        is_tuple = isinstance(value, Sequence) and not isinstance(value, str)
        if is_tuple and all(is_number(size) and size >= 1 and size % 1 == 0 for size in value):
            continue
        example = (
            f"({value},)" if is_number(value) and value >= 1 and value % 1 == 0 else "(64, 64)"
        )
        raise UsageError(
            f"{name} must be a tuple of positive whole numbers, such as {example}, got {value!r}."
        )


def check_instance(name: str, value: Any) -> None:
    """Raises one sentence if a class is given in the place of an instance.

    >>> check_instance("kappa", float)
    Traceback (most recent call last):
    vaelab.UsageError: kappa is the class float: give an instance, float(...).
    """
    if isinstance(value, type):
        raise UsageError(
            f"{name} is the class {value.__name__}: give an instance, {value.__name__}(...)."
        )


def check_axes(name: str, array: Any, axes: str) -> None:
    """Raises one sentence if an array has another number of axes. Shapes are known under jit.

    >>> check_axes("rate", np.zeros(5), "[K, B]")
    Traceback (most recent call last):
    vaelab.UsageError: rate must be an array [K, B] with 2 axes, got the shape (5,).
    """
    wanted, shape = axes.count(",") + 1, np.shape(array)
    if len(shape) != wanted:
        noun = "axis" if wanted == 1 else "axes"
        raise UsageError(
            f"{name} must be an array {axes} with {wanted} {noun}, got the shape {shape}."
        )


def check_equal(**values: Any) -> None:
    """Raises one sentence if shapes, or other values that must be equal, are not.

    Names are the arguments' names, in which "_of_" is read as " of ".

    >>> check_equal(shape_of_rate=(2, 5), shape_of_distortion=(5,))
    Traceback (most recent call last):
    vaelab.UsageError: shape of rate = (2, 5) and shape of distortion = (5,) must be the same.
    """
    first, *others = values.values()
    if any(other != first for other in others):
        shown = [f"{name.replace('_of_', ' of ')} = {value}" for name, value in values.items()]
        raise UsageError(f"{' and '.join(shown)} must be the same.")


def classes_of(labels: Any) -> Any:
    """The labels, which must be classes: integers [N].

    Raises:
      UsageError: there are no labels, or they are not classes.

    >>> classes_of(np.array([0.5, 1.5]))
    Traceback (most recent call last):
    vaelab.UsageError: labels must be classes, integers [N], got float64 of the shape (2,): choose data with classes.
    """
    if labels is None:
        raise UsageError("the data have no labels: choose data with classes.")
    if not np.issubdtype(labels.dtype, np.integer) or labels.ndim != 1:
        raise UsageError(
            f"labels must be classes, integers [N], got {labels.dtype} of the shape "
            f"{tuple(labels.shape)}: choose data with classes."
        )
    return labels


def check_values(name: str, x: Any, low: float, high: float) -> None:
    """Raises unless all values of x [N, *event] are finite and in [low, high], a likelihood's `data_range`.

    Traced arrays and arrays of several hosts pass.

    Raises:
      UsageError: the first example at fault, with the value and the remedy.

    >>> check_values("x", np.array([[0.0, 255.0]]), 0.0, 1.0)
    Traceback (most recent call last):
    vaelab.UsageError: x holds 255 in example 0, outside [0, 1]: rescale the data to that range, or choose ...
    """
    if isinstance(x, jax.core.Tracer):
        return
    if isinstance(x, jax.Array) and not x.is_fully_addressable:
        return
    x = np.asarray(x)
    if not x.size:
        return
    smallest, largest = x.min(), x.max()  # NaN if one coordinate is NaN
    if low <= smallest and largest <= high and np.isfinite([smallest, largest]).all():
        return
    bad = ~(np.isfinite(x) & (x >= low) & (x <= high))
    index = int(np.argmax(bad.reshape(len(x), -1).any(axis=1)))
    value, noun = x[index][bad[index]].ravel()[0], noun_of(x)
    if not np.isfinite(value):
        raise UsageError(
            f"{name} holds {value} in {noun} {index}: repair or remove that {noun}, the data must "
            "be finite."
        )
    raise UsageError(
        f"{name} holds {value:g} in {noun} {index}, outside [{low:g}, {high:g}]: rescale the data "
        "to that range, or choose a likelihood for data without bounds."
    )


def counted(number: int, noun: str) -> str:
    """A number with its noun, for sentences.

    >>> counted(1, "level"), counted(2, "level")
    ('1 level', '2 levels')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def noun_of(x: np.ndarray) -> str:
    """The word for one element of x [N, *event] in sentences."""
    return "image" if x.ndim == 4 else "example"


def out_of_memory(error: BaseException) -> bool:
    """True if an error means that memory is lacking, whichever library raised it.

    >>> out_of_memory(MemoryError()), out_of_memory(RuntimeError("RESOURCE_EXHAUSTED: ..."))
    (True, True)
    """
    texts = ("RESOURCE_EXHAUSTED", "Out of memory")
    return isinstance(error, MemoryError) or any(text in str(error) for text in texts)
