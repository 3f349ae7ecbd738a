"""Images with fewer grey levels, which bounds a likelihood that would grow without limit.

A constraint on the reconstruction makes this baseline unnecessary. Rezende & Viola, 2018, section 1.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from vaelab.checks import UsageError, check_values
from vaelab.data.streamed import StreamedSplits
from vaelab.data.treatments import Treatment, in_levels
from vaelab.types import Examples, Splits


@dataclasses.dataclass(frozen=True)
class ReducedBitDepth(Treatment):
    """Another data set's 8-bit images with 2^bits levels, in every split: see `reduce_bit_depth`.

    The context does not change. Kingma & Dhariwal, 2018, reduce to 5 bits.

    Raises:
      UsageError: bits outside 1 to 8.
    """

    bits: int = 5
    """Number of bits of a value."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_bits(self.bits)

    @property
    def num_levels(self) -> int:
        return 2**self.bits

    @property
    def treatment(self) -> str:
        return f"reduced to {self.num_levels} levels"

    def load(self, data_dir: str | None = None) -> Splits:
        splits = in_levels(self.source.load(data_dir), self)
        return splits.map(self._reduced)

    def open(self, data_dir: str | None = None) -> StreamedSplits | None:
        splits = self.source.open(data_dir)
        return None if splits is None else splits.map(self._reduced)

    def _reduced(self, part: Examples) -> Examples:
        return part._replace(x=reduce_bit_depth(part.x, bits=self.bits))


def reduce_bit_depth(x: np.ndarray, *, bits: int) -> np.ndarray:
    """floor(k / 2^(8 − bits)) / (2^bits − 1) with k = round(255 x): 2^bits levels, 0 to 1. Any shape.

    A likelihood over these levels has num_levels = 2^bits.

    Raises:
      UsageError: bits outside 1 to 8, or values outside [0, 1], such as bytes.

    >>> reduce_bit_depth(np.array([0.0, 7 / 255, 8 / 255, 1.0]), bits=5) * 31
    array([ 0.,  0.,  1., 31.], dtype=float32)
    """
    _check_bits(bits)
    check_values("x", x, 0.0, 1.0)
    level = np.rint(255 * np.asarray(x, np.float32)).astype(np.uint8) >> (8 - bits)
    return level.astype(np.float32) / (2**bits - 1)


def _check_bits(bits: int) -> None:
    if not 1 <= bits <= 8:
        raise UsageError(f"bits must lie in 1 to 8, got {bits}.")
