"""Latent spaces of any dimension, projected to the plane of a plot."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Plane(NamedTuple):
    """A plane in the latent space, and the names of its two axes."""

    centre: np.ndarray  # [D]
    axes: np.ndarray  # [D, 2]
    names: tuple[str, str]

    def project(self, z: np.ndarray) -> np.ndarray:
        """[..., D] -> [..., 2]"""
        return (z - self.centre) @ self.axes


def principal_plane(z: np.ndarray) -> Plane:
    """The plane of the first two principal axes of z [N, D]. With D = 2 the plane is the space itself.

    The axes are found by a singular value decomposition of the centred points. The largest loading of
    each axis is positive.

    >>> principal_plane(np.array([[3.0, 0, 0], [-3, 0, 0], [0, 1, 0], [0, -1, 0]])).axes.T.tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    if z.shape[1] == 2:
        return Plane(np.zeros(2), np.eye(2), ("$z_1$", "$z_2$"))
    centre = z.mean(0)
    _, singular_values, axes = np.linalg.svd(z - centre, full_matrices=False)
    shares = singular_values**2 / max(np.sum(singular_values**2), np.finfo(float).tiny)
    names = [
        f"principal axis {i} ({100 * share:.0f} % of variance)"
        for i, share in enumerate(shares[:2], 1)
    ]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(1, keepdims=True), axis=1)
    return Plane(centre, (axes * np.where(largest < 0, -1, 1))[:2].T, (names[0], names[1]))
