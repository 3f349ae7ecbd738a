"""A bound on the correlation of patches, which does not depend on brightness and contrast."""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import jax.numpy as jnp

from vaelab.checks import UsageError, check_axes, check_equal, check_positive
from vaelab.constraints.base import LowerBound, check_kappa
from vaelab.constraints.image_windows import check_windows, windows
from vaelab.types import Array, Examples, Terms


def patch_correlation_shortfall(
    x: Array,
    mean: Array,
    *,
    kappa: float | Array,
    patch: int = 8,
    stride: int = 4,
    epsilon: float = 0.01,
) -> Array:
    """pNCC: κ − mean_i ψ(x, i)ᵀ ψ(g, i). [B, h, w, c], [K, B, h, w, c] -> [K, B].

    ψ(·, i) is the patch at i, over all channels, minus its mean and divided by its norm. If its standard
    deviation is below ε, it is divided by the norm of a patch of standard deviation ε: a flat
    reconstruction has correlation 0 and a finite gradient. Patches whose *target* is flat (standard
    deviation at most ε) have no shape to match, and i runs over the others. An image without other patches
    has C = 0.
    Rezende & Viola, 2018, table 1.

    >>> import jax
    >>> x = jax.random.uniform(jax.random.key(0), (1, 8, 8, 1))
    >>> patch_correlation_shortfall(x, 0.3 * x[None] + 0.5, kappa=0.5).round(4)
    Array([[-0.5]], dtype=float32...)
    """
    check_axes("x", x, "[B, height, width, channels]")
    check_equal(shape_of_x=x.shape, shape_of_each_mean=mean.shape[1:])
    target, has_shape = _whiten(windows(x, size=patch, stride=stride), epsilon)
    reconstruction, _ = _whiten(windows(mean, size=patch, stride=stride), epsilon)
    correlations = jnp.sum(target * reconstruction, axis=(-3, -2, -1))  # [K, B, rows, columns]
    num_patches = jnp.sum(has_shape, axis=(-2, -1))  # [B]
    total = jnp.sum(jnp.where(has_shape, correlations, 0.0), axis=(-2, -1))
    return jnp.where(num_patches > 0, kappa - total / jnp.maximum(num_patches, 1), 0.0)


def _whiten(patches: Array, epsilon: float) -> tuple[Array, Array]:
    """(ψ, True if the standard deviation is above ε). [..., p, p, c] -> the same shape, [...]."""
    axes = (-3, -2, -1)
    centred = patches - jnp.mean(patches, axis=axes, keepdims=True)
    variance = jnp.mean(centred**2, axis=axes, keepdims=True)
    num_dims = math.prod(patches.shape[-3:])
    norm = jnp.sqrt(num_dims * jnp.maximum(variance, epsilon**2))
    return centred / norm, variance[..., 0, 0, 0] > epsilon**2


@dataclasses.dataclass(frozen=True)
class pNCC(LowerBound):  # noqa: N801  as in the literature
    """Patch normalised cross-correlation mean_i ψ(x, i)ᵀ ψ(g(z), i) ≥ κ. Rezende & Viola, 2018, table 1.

    It depends on shapes and not on the brightness or contrast of a patch: a pNCC alone leaves the grey values
    of reconstructions free. An image without shapes meets it exactly. For flat patches see
    `patch_correlation_shortfall`.
    """

    kappa: float
    """Lowest mean correlation of corresponding patches, in (-1, 1)."""
    patch: int = 8
    """Side of the square patches in pixels."""
    stride: int = 4
    """Number of pixels from one patch to the next. 1 takes every position."""
    epsilon: float = 0.01
    """Highest standard deviation, in data units, of a patch that counts as flat."""

    quantity: ClassVar[str] = "correlation of patches"

    def __post_init__(self) -> None:
        check_kappa(self, lambda kappa: -1 < kappa < 1, "in (-1, 1) (it is a correlation)")
        check_windows("patch", self.patch, self.stride)
        check_positive(epsilon=self.epsilon)

    def __call__(self, examples: Examples, terms: Terms) -> Array:
        return patch_correlation_shortfall(
            examples.x,
            terms.likelihood.mean(),
            kappa=self.kappa,
            patch=self.patch,
            stride=self.stride,
            epsilon=self.epsilon,
        )

    def check(self, train: Examples, num_levels: int | None = None) -> None:
        del num_levels
        shape = train.x.shape[1:]
        if len(shape) != 3:
            raise UsageError(
                f"the constraint pNCC compares patches of images [height, width, channels], and these "
                f"data have examples of {tuple(shape)}: choose RE or NLL."
            )
        height, width = shape[:2]
        if self.patch > min(height, width):
            raise UsageError(
                f"patch of the constraint pNCC is {self.patch} and the images are {height}x{width}: "
                f"choose a patch of at most {min(height, width)}."
            )
