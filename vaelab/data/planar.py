"""Mixtures in the plane, for plots of theory: lines, circles, and clusters within clusters."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from vaelab.types import Array, PRNGKey

Point = tuple[float, float]

_SEGMENTS: tuple[tuple[Point, Point], ...] = (
    ((-0.8, -0.7), (-0.2, 0.7)),
    ((-0.3, -0.6), (0.8, -0.3)),
    ((0.1, 0.6), (0.8, 0.1)),
)
_CIRCLES: tuple[tuple[Point, float], ...] = (
    ((-0.45, -0.4), 0.4),
    ((0.5, -0.2), 0.3),
    ((0.0, 0.55), 0.25),
)
_OFFSETS: tuple[Point, ...] = ((0.6, 0.0), (0.0, 0.4), (0.2, 0.2))


def lines(
    key: PRNGKey,
    num_points: int,
    *,
    segments: Sequence[tuple[Point, Point]] = _SEGMENTS,
    noise: float = 0.02,
) -> Array:
    """Points along line segments, equally many on each, with normal noise. [num_points, 2] float32.

    Args:
      segments: pairs of end points.
      noise: standard deviation, in each coordinate.

    >>> lines(jax.random.key(0), 6, segments=[((0, 0), (1, 0))], noise=0.0)[:, 1].tolist()
    [0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    """
    place_key, noise_key = jax.random.split(key)
    ends = jnp.asarray(segments, jnp.float32)[jnp.arange(num_points) % len(segments)]
    place = jax.random.uniform(place_key, (num_points, 1), jnp.float32)
    return _blur(noise_key, ends[:, 0] + place * (ends[:, 1] - ends[:, 0]), noise)


def circles(
    key: PRNGKey,
    num_points: int,
    *,
    centres_and_radii: Sequence[tuple[Point, float]] = _CIRCLES,
    noise: float = 0.02,
) -> Array:
    """Points on circles, equally many on each, with normal noise. [num_points, 2] float32.

    >>> x = circles(jax.random.key(0), 5, centres_and_radii=[((0, 0), 2)], noise=0.0)
    >>> jnp.round(jnp.linalg.norm(x, axis=1), 4).tolist()
    [2.0, 2.0, 2.0, 2.0, 2.0]
    """
    angle_key, noise_key = jax.random.split(key)
    which = jnp.arange(num_points) % len(centres_and_radii)
    centres = jnp.asarray([centre for centre, _ in centres_and_radii], jnp.float32)[which]
    radii = jnp.asarray([radius for _, radius in centres_and_radii], jnp.float32)[which]
    angle = jax.random.uniform(angle_key, (num_points,), jnp.float32, 0.0, 2 * jnp.pi)
    unit = jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1)
    return _blur(noise_key, centres + radii[:, None] * unit, noise)


def clusters(
    key: PRNGKey,
    num_points: int,
    *,
    offsets: Sequence[Point] = _OFFSETS,
    noise: float = 0.03,
) -> Array:
    """Pairs of pairs of pairs: normal clusters at all `±o_1 ± o_2 ± …`. [num_points, 2] float32.

    Each offset is a spatial scale. At that scale the clusters of smaller offsets merge.

    >>> clusters(jax.random.key(0), 2, offsets=[(1, 0)], noise=0.0).tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """
    signs = jnp.asarray(list(itertools.product((-1, 1), repeat=len(offsets))), jnp.float32)
    centres = jnp.sum(signs[:, :, None] * jnp.asarray(offsets, jnp.float32), axis=1)
    return _blur(key, centres[jnp.arange(num_points) % len(centres)], noise)


def _blur(key: PRNGKey, x: Array, noise: float) -> Array:
    return x + noise * jax.random.normal(key, x.shape, x.dtype)
