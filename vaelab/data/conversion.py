"""Conversion of any numbers to the types of training, exact or said in a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np

from vaelab.checks import UsageError, noun_of

_EXACT = 2**24  # float32 holds every integer up to this size
_TINY = np.finfo(np.float32).tiny
_BLOCK = 2**20  # values converted at once, which bounds the memory of the checks


def as_array(name: str, given: Any) -> np.ndarray:
    """A numpy array of what is given: an array of any library, a table, or nested lists.

    Raises:
      UsageError: numpy cannot read it, it hides values behind a mask, or it holds no numbers.

    >>> as_array("x", [[1, 2], [3]])
    Traceback (most recent call last):
    vaelab.UsageError: x cannot be read as an array (...): give a numpy array.
    """
    if np.ma.is_masked(given):
        raise UsageError(f"{name} has masked values: replace or remove them.")
    try:
        array = np.asarray(given)
    except Exception as error:  # other libraries raise errors of many types
        reason = " ".join(str(error).split()).rstrip(".")
        raise UsageError(
            f"{name} cannot be read as an array ({reason}): give a numpy array."
        ) from error
    return array


def as_floats(name: str, given: Any) -> tuple[np.ndarray, list[str]]:
    """float32 [N, ...], read-only, and sentences about the conversion. uint8 is divided by 255.

    The result is a copy, unless the array is read-only float32 that owns its memory.

    Raises:
      UsageError: other types, or values that float32 cannot hold.

    >>> as_floats("x", np.array([[1, 2]]))[1]
    ['x is converted from int64 to float32.']
    """
    array = as_array(name, given)
    dtype, shape = array.dtype, array.shape
    whole = jnp.issubdtype(dtype, jnp.integer)
    if array.ndim < 1 or not (whole or dtype.kind == "b" or jnp.issubdtype(dtype, jnp.floating)):
        raise UsageError(
            f"{name} must be numbers [N, ...], got {dtype} of the shape {shape}: give integers, "
            "booleans or floats."
        )
    if dtype == np.float32:
        shared = array.flags.owndata and not array.flags.writeable
        return (array if shared else _frozen(array.copy())), []
    if dtype == np.uint8:
        values = np.divide(array, np.float32(255), dtype=np.float32)
        return _frozen(values), [f"{name} is converted from uint8 to float32 and divided by 255."]
    values, num_tiny = np.empty(shape, np.float32), 0
    for rows in blocks(array):
        block = array[rows]
        with np.errstate(over="ignore"):
            values[rows] = block
        if whole and block.size and (block.max() > _EXACT or block.min() < -_EXACT):
            raise _too_large(name, array, abs(block.astype(np.float64)) > _EXACT, rows.start)
        if not whole and dtype.kind != "b":
            lost = np.isinf(values[rows]) & np.isfinite(block)
            if lost.any():
                raise _too_large(name, array, lost, rows.start)
            num_tiny += int(np.count_nonzero((np.abs(values[rows]) < _TINY) & (block != 0)))
    said = [f"{name} is converted from {dtype} to float32."]
    if num_tiny:
        said.append(
            f"{num_tiny} values of {name} lie nearer to 0 than {_TINY:.2g} and are rounded."
        )
    return _frozen(values), said


def as_integers(name: str, given: Any) -> np.ndarray:
    """int32 [N, ...], read-only, with the same values.

    Raises:
      UsageError: other types, or values that do not fit 32 bits.
    """
    array = as_array(name, given)
    integers = array.dtype.kind == "b" or jnp.issubdtype(array.dtype, jnp.integer)
    bounds = np.iinfo(np.int32)
    if not integers or (array.size and not bounds.min <= array.min() <= array.max() <= bounds.max):
        raise UsageError(f"{name} must be integers that fit 32 bits, got {array.dtype}.")
    return _frozen(array.astype(np.int32))


def _too_large(name: str, array: np.ndarray, lost: np.ndarray, start: int) -> UsageError:
    """The sentence about the first example in `lost`, a mask over the rows from `start`."""
    row = int(np.argmax(lost.reshape(len(lost), -1).any(axis=1)))
    value = array[start + row][lost[row]].ravel()[0]
    if jnp.issubdtype(array.dtype, jnp.integer):
        problem = f"above {_EXACT} in size, where float32 skips integers"
        remedy = "subtract an offset, or convert it with astype(np.float64) and accept the rounding"
    else:
        problem, remedy = "too large for float32", "rescale the data"
    return UsageError(
        f"{name} holds {value} in {noun_of(array)} {start + row}, {problem}: {remedy}."
    )


def blocks(array: np.ndarray) -> Iterator[slice]:
    """Slices of rows of about 2²⁰ values each."""
    size = max(1, _BLOCK * len(array) // max(1, array.size))
    return (slice(start, start + size) for start in range(0, len(array), size))


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array
