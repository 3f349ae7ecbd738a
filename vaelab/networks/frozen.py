"""Frozen networks: small trained networks with constant weights, for constraints and measurements.

`python -m experiments.frozen_networks` trains them. The network for MNIST is part of this package. You
train the one for CIFAR-10 yourself. Weights are read when a network is first used. Gradients flow to the images.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from vaelab import npy
from vaelab.checks import MissingFileError, UsageError, check_positive, check_sizes
from vaelab.types import Array, PyTree
from vaelab.untrusted import parse_json, reason_of

_FORMAT = (
    1  # Version of the files: what SmallClassifier computes, and which layer gives its features.
)
MNIST_PATH = str(Path(__file__).parent / "weights" / "mnist.npz")


class SmallClassifier(nn.Module):
    """Strided convolutions, a dense layer, and logits. [N, h, w, c] -> two outputs.

    The nonlinearity has a gradient everywhere. The first outputs of a model can be far from any image,
    and a constraint on dead units would never be met.
    """

    widths: tuple[int, ...]
    """Number of feature maps of each convolution. Each convolution halves the image."""
    hidden: int
    """Width of the dense layer. Its values before the nonlinearity are the features."""
    num_classes: int

    @nn.compact
    def __call__(self, x: Array) -> tuple[Array, Array]:
        """(features [N, hidden], logits [N, num_classes])."""
        for width in self.widths:
            x = _leaky_silu(nn.Dense(width)(_neighbourhoods(x)))
        features = nn.Dense(self.hidden)(x.reshape(x.shape[0], -1))
        return features, nn.Dense(self.num_classes)(_leaky_silu(features))


def _leaky_silu(x: Array) -> Array:
    """0.2 x + 0.8 silu(x): smooth, with a slope between 0.1 and 1.1."""
    return 0.2 * x + 0.8 * nn.silu(x)


def _neighbourhoods(x: Array) -> Array:
    """The 3×3 neighbourhood of every second pixel. [N, h, w, c] -> [N, ⌈h/2⌉, ⌈w/2⌉, 9c].

    A dense layer on it is a 3×3 convolution of stride 2. On CPUs it is faster than XLA's own convolutions,
    whose gradient is slow inside a scan (jax issue 12868).
    """
    height, width = (-(-side // 2) for side in x.shape[1:3])
    below, right = 2 * height - x.shape[1], 2 * width - x.shape[2]
    x = jnp.pad(x, ((0, 0), (1, below), (1, right), (0, 0)))
    return jnp.concatenate(
        [
            x[:, i : i + 2 * height - 1 : 2, j : j + 2 * width - 1 : 2]
            for i in range(3)
            for j in range(3)
        ],
        axis=-1,
    )


class Frozen(NamedTuple):
    """A trained network, as read from its file."""

    network: SmallClassifier
    params: PyTree  # float32 numpy arrays
    metadata: dict[str, Any]  # image_shape, feature_scale, accuracy, data, made_by, ...


def save_frozen(
    path: str, network: SmallClassifier, params: PyTree, metadata: Mapping[str, Any]
) -> None:
    """Writes a network as npz: weights in float16, architecture and metadata as JSON."""
    weights: dict[str, Any] = {
        "/".join(name): np.asarray(value, np.float16)
        for name, value in flatten_dict(params).items()
    }
    architecture = {
        "widths": network.widths, "hidden": network.hidden, "num_classes": network.num_classes,
    }  # fmt: skip
    text = json.dumps({"format": _FORMAT, "architecture": architecture, **metadata})
    with open(path, "wb") as file:
        np.savez_compressed(file, metadata=np.array(text), **weights)


@functools.cache
def load_frozen(path: str) -> Frozen:
    """Reads a file that `save_frozen` wrote, once per process.

    Raises:
      MissingFileError: there is no such file.
      UsageError: the file does not hold a frozen network.

    >>> load_frozen(MNIST_PATH).metadata["image_shape"]
    [28, 28, 1]
    """
    try:
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
            content = npy.read_arrays(archive, npy.names_of(archive))
        return _frozen(content)
    except FileNotFoundError:
        raise MissingFileError(
            f"there is no frozen network {path}: train it with python -m experiments.frozen_networks, or "
            "give the path of another."
        ) from None
    except Exception as error:  # damaged archives raise errors of many types
        raise UsageError(
            f"{path} holds no frozen network ({reason_of(error)}): train one with python -m "
            "experiments.frozen_networks."
        ) from error


def _frozen(content: dict[str, np.ndarray]) -> Frozen:
    """The network of the arrays of a file. Errors of many types if they are another file's."""
    metadata = parse_json(str(content.pop("metadata")).encode())
    architecture = metadata.pop("architecture")
    if metadata.pop("format") != _FORMAT:
        raise ValueError("it is of another version of vaelab")
    widths = tuple(architecture["widths"])
    check_sizes(image_shape=metadata["image_shape"], widths=widths)
    check_positive(feature_scale=float(metadata["feature_scale"]))
    network = SmallClassifier(**architecture | {"widths": widths})
    params = unflatten_dict(
        {tuple(name.split("/")): value.astype(np.float32) for name, value in content.items()}
    )
    images = jax.ShapeDtypeStruct((1, *metadata["image_shape"]), np.float32)
    like = jax.eval_shape(network.init, jax.random.key(0), images)["params"]
    if jax.tree.map(np.shape, params) != jax.tree.map(np.shape, like):
        raise ValueError("its arrays are not those of its architecture")
    return Frozen(network, params, metadata)


@dataclasses.dataclass(frozen=True)
class FrozenFeatures:
    """Penultimate layer of your own network. [..., height, width, channels] -> [..., D_f].

    Features are divided by their root-mean-square deviation over the training images. So κ of an FRE is a
    fraction of the spread of the data, and the mean features of all images would reach 1.
    """

    path: str
    """File that `python -m experiments.frozen_networks` wrote."""

    def __call__(self, x: Array) -> Array:
        features, _ = _outputs(self, self.path, x)
        return features


@dataclasses.dataclass(frozen=True)
class FrozenClassifier:
    """Class probabilities of your own network. [..., height, width, channels] -> [..., C]."""

    path: str
    """File that `python -m experiments.frozen_networks` wrote."""
    temperature: float = 1.0
    """Divisor of the logits. Above 1, images that clearly belong to a wrong class have a larger gradient."""

    def __post_init__(self) -> None:
        check_positive(temperature=self.temperature)

    def __call__(self, x: Array) -> Array:
        _, logits = _outputs(self, self.path, x)
        return jax.nn.softmax(logits / self.temperature)


@dataclasses.dataclass(frozen=True)
class MNISTFeatures:
    """Penultimate layer of the shipped MNIST classifier. [..., 28, 28, channels] -> [..., channels·D_f].

    Each channel is read as a separate grey image in [0, 1]. The units are those of `FrozenFeatures`.

    >>> MNISTFeatures(channels=3)(jnp.zeros((2, 5, 28, 28, 3))).shape
    (2, 5, 96)
    """

    channels: int = 1
    """1 for MNIST; 3 for Color-MNIST, which has a digit in each channel."""

    def __post_init__(self) -> None:
        _check_channels(self.channels)

    def __call__(self, x: Array) -> Array:
        features, _ = _outputs(self, MNIST_PATH, x, self.channels)
        return features.reshape(*features.shape[:-2], -1)


@dataclasses.dataclass(frozen=True)
class MNISTClassifier:
    """Class probabilities of the shipped MNIST classifier. [..., 28, 28, channels] -> [..., 10**channels].

    Each channel is read as a separate grey image in [0, 1], and digits are independent. The class of
    digits (a, b, c) in three channels is 100 a + 10 b + c.

    >>> MNISTClassifier()(jnp.zeros((2, 28, 28, 1))).sum(-1).round(4)
    Array([1., 1.], dtype=float32...)
    """

    channels: int = 1
    """1 for MNIST; 3 for Color-MNIST, which has a digit in each channel."""
    share: bool = False
    """True gives (a, b, c) the expected share of right digits: the mean of the three probabilities, not their product. If no digit is recognised yet, a product has almost no gradient."""
    temperature: float = 1.0
    """Divisor of the logits. Above 1, images that clearly belong to a wrong class have a larger gradient."""

    def __post_init__(self) -> None:
        _check_channels(self.channels)
        check_positive(temperature=self.temperature)

    def __call__(self, x: Array) -> Array:
        _, logits = _outputs(self, MNIST_PATH, x, self.channels)
        digits = jax.nn.softmax(logits / self.temperature)  # [..., channels, 10]
        joint = digits[..., 0, :]
        for channel in range(1, self.channels):
            one, others = digits[..., channel, None, :], joint[..., :, None]
            joint = others + one if self.share else others * one
            joint = joint.reshape(*joint.shape[:-2], -1)
        return joint / self.channels if self.share else joint


def _outputs(value: Any, path: str, x: Array, channels: int | None = None) -> tuple[Array, Array]:
    """(features, logits) of images [..., h, w, c]. With `channels`, each channel is a separate image."""
    frozen = load_frozen(path)
    height, width, own_channels = frozen.metadata["image_shape"]
    wanted = (height, width, channels or own_channels)
    if x.shape[-3:] != wanted:
        raise UsageError(
            f"{type(value).__name__} takes images of the shape {wanted}, and got {x.shape[-3:]}: choose "
            "another network, or images of its shape."
        )
    if channels:
        x = jnp.moveaxis(x, -1, -3)[..., None]
    images = x.reshape(-1, height, width, own_channels)  # one batch axis: XLA is fast on few axes
    features, logits = frozen.network.apply({"params": frozen.params}, images)
    features = features / frozen.metadata["feature_scale"]
    batch = x.shape[:-3]
    return features.reshape(*batch, -1), logits.reshape(*batch, -1)


def _check_channels(channels: int) -> None:
    if channels not in (1, 3):
        raise UsageError(f"channels must be 1 or 3, got {channels}.")
