"""A bound on the reconstruction error of features, and features that need no network."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import ClassVar

import jax
import jax.numpy as jnp

from vaelab.checks import UsageError, check_instance
from vaelab.constraints.base import ImageFunction
from vaelab.constraints.image_windows import check_windows, windows
from vaelab.constraints.reconstruction import RE, reconstruction_error
from vaelab.types import Array, Examples, Terms


@dataclasses.dataclass(frozen=True)
class FRE(RE):
    """Feature reconstruction error ‖f(x) − f(g(z))‖² ≤ D_f κ². Rezende & Viola, 2018, table 1.

    `features` is a frozen network (`vaelab.networks.frozen`), `LocalStatistics`, or your own function,
    differentiable in the examples. D_f is the number of features of one example.

    >>> half = lambda x: x[:, ::2]
    >>> FRE(kappa=0.5, features=half).divisor((28, 28, 1))
    98.0
    """

    kappa: float
    """Tolerated root-mean-square error per feature, in the features' units."""
    features: ImageFunction
    """f, images [B, height, width, channels] -> features [B, ...]."""

    quantity: ClassVar[str] = "RMSE per feature"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_instance("features", self.features)
        if not callable(self.features):
            raise UsageError(
                f"features of the constraint FRE must be a function of images, got {self.features!r}."
            )

    def __call__(self, examples: Examples, terms: Terms) -> Array:
        features_of_means = jax.vmap(self.features)(terms.likelihood.mean())
        return reconstruction_error(self.features(examples.x), features_of_means, kappa=self.kappa)

    def num_dims(self, shape: Sequence[int]) -> float:
        return float(math.prod(output_shape("features", self.features, shape)))

    def check(self, train: Examples, num_levels: int | None = None) -> None:
        del num_levels
        output_shape("features", self.features, train.x.shape[1:])


@dataclasses.dataclass(frozen=True)
class LocalStatistics:
    """Mean and standard deviation of each channel in windows. [..., h, w, c] -> [..., rows, columns, 2c].

    Both are in data units, and so is the κ of an FRE on them.

    A standard deviation of n values is a norm, ‖x − x̄‖/√n, and its gradient has the length 1/√n. An exactly
    constant window has no gradient; here it is 0, the smallest subgradient. So the means, and windows
    that overlap, are the first to move a constant reconstruction.

    >>> stripes = jnp.tile(jnp.array([0.0, 1.0]), 4).reshape(1, 8, 1) * jnp.ones((8, 1, 1))
    >>> LocalStatistics(window=4, stride=4)(stripes)[0, 0]
    Array([0.5, 0.5], dtype=float32...)
    """

    window: int = 4
    """Side of the square windows in pixels."""
    stride: int = 2
    """Number of pixels from one window to the next."""

    def __post_init__(self) -> None:
        check_windows("window", self.window, self.stride)

    def __call__(self, x: Array) -> Array:
        patches = windows(x, size=self.window, stride=self.stride)
        mean = jnp.mean(patches, axis=(-3, -2), keepdims=True)
        variance = jnp.mean((patches - mean) ** 2, axis=(-3, -2))
        # Two times `where`: the gradient of the branch that is not taken must be finite, too.
        varies = variance > 0
        deviation = jnp.where(varies, jnp.sqrt(jnp.where(varies, variance, 1.0)), 0.0)
        return jnp.concatenate([mean[..., 0, 0, :], deviation], axis=-1)


def output_shape(name: str, function: ImageFunction, shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of a function's output for one image of this shape. `name` is its name in errors.

    Raises:
      UsageError: the function does not accept such images.
    """
    images = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    try:
        output = jax.eval_shape(function, images)
    except (TypeError, ValueError) as error:
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise UsageError(
            f"{name} cannot be computed of images of {tuple(shape)}: {reason}."
        ) from error
    if not hasattr(output, "shape") or output.shape[:1] != (1,):
        raise UsageError(
            f"{name} must keep the axis of the examples, [B, ...] -> [B, ...], and returned {output} for "
            f"one image of {tuple(shape)}."
        )
    return output.shape[1:]
