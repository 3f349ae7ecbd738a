"""Bytes that stand for multiples of 1/255, as floats on the device."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np

from vaelab.types import Array, Examples

_A = np.float32(math.floor(2**24 / 255) / 2**24)
_B = np.float32(1 / 255 - float(_A))


def divided_by_255(x: Array) -> Array:
    """x / 255 of bytes as numpy divides, on every device. Any shape.

    Compilers replace a division by a product with the rounded 1/255, which differs in the last bit. Here
    1/255 = a + b, and a has so few bits that x a is exact. A test tries all bytes.

    >>> float(divided_by_255(jnp.uint8(51)))
    0.20000000298...
    """
    floats = x.astype(jnp.float32)
    return floats * _A + floats * _B


def with_float_x(examples: Examples) -> Examples:
    """The examples with float32 x, from bytes."""
    return examples._replace(x=divided_by_255(examples.x))
