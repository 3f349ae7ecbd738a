"""Images of a pendulum at all angles: data on a ring, with the exact angle as the label."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from vaelab.checks import (
    UsageError,
    check_at_least_one,
    check_axes,
    check_not_negative,
    check_values,
)
from vaelab.data import show
from vaelab.data.dataset import DataSet, LabelMeaning
from vaelab.data.show import Shown
from vaelab.types import Array, Examples, Splits

# In units of half the side of the image. Length plus radius leave a border of black pixels.
_LENGTH, _BOB_RADIUS, _ROD_RADIUS = 0.58, 0.24, 0.08
_SMALLEST_SIZE = 8
_CHUNK = 500  # images rendered at once; distances need several times the memory of an image


def pendulum(angles: Array | npt.ArrayLike, *, size: int = 16) -> Array:
    """White pendulums on black, a rod with a bob. [N] radians -> [N, size, size, 1] in [0, 1].

    The pivot is the centre of the image. Angle 0 hangs down, and angles grow counter-clockwise: the bob
    is at (sin θ, −cos θ) with the second axis upwards. A pixel at the distance d outside of the shape,
    in pixels, has the value max(0, min(1, 1/2 − d)): the edges are smooth, so the image is a continuous
    function of the angle. A quarter turn of the pendulum is a quarter turn of the image.

    Raises:
      UsageError: angles are not finite numbers [N], or size is below 8.

    >>> jnp.round(10 * pendulum(jnp.array([0.0]), size=8)[0, :, 4, 0]).astype(int)
    Array([0, 0, 0, 1, 3, 5, 9, 2], dtype=int32)
    """
    try:
        array = jnp.asarray(angles, jnp.float32)
    except (TypeError, ValueError):
        raise UsageError(f"angles must be numbers [N] in radians, got {angles!r}.") from None
    check_axes("angles", array, "[N]")
    check_values("angles", array, -np.inf, np.inf)
    _check_size(size)
    return _rendered(array, size=size)


@partial(jax.jit, static_argnames="size")
def _rendered(angles: Array, *, size: int) -> Array:
    """Images of angles [N] float32, in chunks."""
    places = (2 * jnp.arange(size, dtype=jnp.float32) + 1) / size - 1
    right, up = places, -places[:, None]

    def render(angle: Array) -> Array:
        towards = jnp.sin(angle), -jnp.cos(angle)
        along = jnp.clip(right * towards[0] + up * towards[1], 0.0, _LENGTH)
        rod = jnp.hypot(right - along * towards[0], up - along * towards[1]) - _ROD_RADIUS
        bob = jnp.hypot(right - _LENGTH * towards[0], up - _LENGTH * towards[1]) - _BOB_RADIUS
        outside = jnp.minimum(rod, bob) * size / 2
        return jnp.clip(0.5 - outside, 0.0, 1.0)[..., None]

    return jax.lax.map(render, angles, batch_size=_CHUNK)


class PendulumMatch(NamedTuple):
    """The renderings that resemble images most."""

    angles: Array  # [N], radians in [0, 2π)
    errors: Array  # [N], root mean square difference from the rendering, per pixel


@partial(jax.jit, static_argnames="num_angles")
def match_pendulum(images: Array, *, num_angles: int = 720) -> PendulumMatch:
    """The angle that each image shows: that of the nearest of `num_angles` renderings.

    images [N, size, size, 1] or flat [N, size²]. The angle of a rendering is found up to half a step of
    the grid, π / num_angles. The error is large if an image shows no pendulum, or two.

    Raises:
      UsageError: images are not square, or num_angles is below 1.

    >>> match_pendulum(pendulum(jnp.array([jnp.pi / 2]))).angles
    Array([1.5707964], dtype=float32)
    """
    check_at_least_one(num_angles=num_angles)
    flat = jnp.reshape(images, (len(images), -1))
    size = round(flat.shape[1] ** 0.5)
    if size**2 != flat.shape[1]:
        raise UsageError(
            f"images must be [N, size, size, 1] or [N, size²], got the shape {images.shape}."
        )
    angles = jnp.arange(num_angles, dtype=jnp.float32) * (2 * jnp.pi / num_angles)
    rendered = pendulum(angles, size=size).reshape(num_angles, -1)

    def nearest(image: Array) -> tuple[Array, Array]:
        squared = jnp.mean((image - rendered) ** 2, axis=1)
        return angles[squared.argmin()], jnp.sqrt(squared.min())

    return PendulumMatch(*jax.lax.map(nearest, flat))


@dataclasses.dataclass(frozen=True)
class Pendulum(DataSet):
    """A pendulum at independent angles, uniform over the full circle. The label is the exact angle.

    x are grey images [size, size, 1] in [0, 1], see `pendulum`. Labels are radians, float32 [N], in
    [0, 2π]. The images lie on a closed curve: a good latent space holds a ring.

    Raises:
      UsageError: an empty split, size below 8, or a negative seed.
    """

    size: int = 16
    """Height and width of an image in pixels."""
    flat: bool = False
    """True makes x vectors [size²], for networks of vectors."""
    num_train: int = 10_000
    """Number of training images."""
    num_validation: int = 2_000
    """Number of validation images."""
    num_test: int = 2_000
    """Number of test images."""
    seed: int = 0
    """Seed of the angles. Each split draws angles of its own."""

    def __post_init__(self) -> None:
        check_at_least_one(
            size=self.size, num_train=self.num_train, num_validation=self.num_validation,
            num_test=self.num_test,
        )  # fmt: skip
        _check_size(self.size)
        check_not_negative(seed=self.seed)

    @property
    def label_meaning(self) -> LabelMeaning:
        return LabelMeaning("angle", period=2 * np.pi)

    def load(self, data_dir: str | None = None) -> Splits:
        del data_dir
        sizes = (self.num_train, self.num_validation, self.num_test)
        train, validation, test = (self._part(index, num) for index, num in enumerate(sizes))
        return Splits(train, validation, test)

    def show(self, x: npt.ArrayLike) -> Shown | None:
        """The images, also of flat vectors."""
        return show.images(np.reshape(x, (-1, self.size, self.size, 1)) if self.flat else x)

    def _part(self, index: int, num_examples: int) -> Examples:
        draw = np.random.default_rng([self.seed, index])
        angles = draw.uniform(0, 2 * np.pi, num_examples).astype(np.float32)
        images = np.asarray(pendulum(angles, size=self.size))
        return Examples(images.reshape(num_examples, -1) if self.flat else images, angles)


def _check_size(size: int) -> None:
    if size < _SMALLEST_SIZE:
        raise UsageError(
            f"size must be at least {_SMALLEST_SIZE} pixels, or the rod is invisible, got {size}."
        )
