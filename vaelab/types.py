"""The values that cross module borders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

Array = jax.Array
PRNGKey = jax.Array  # a typed key, `jax.random.key(seed)`
PyTree = Any


class Terms(NamedTuple):
    """What every model returns: the parts of every bound, per importance sample and example, in nats.

    Shapes: K importance samples, B examples, D_l latent coordinates at level l. A flat model has one
    level. Rates are log q(z|x) − log p(z) *at the sample*. `kl` of a level is the closed form of its rate, or
    None. It is computed given the samples of the earlier levels, and averaged over them.
    """

    distortion: Array  # [K, B], −log p(x|z)
    rate: tuple[Array, ...]  # per level [K, B]
    kl: tuple[Array | None, ...]  # per level [B, D_l] or None
    latents: tuple[Array, ...]  # per level [K, B, D_l]
    likelihood: Any  # p(x|z), a `likelihoods.Likelihood` of batch shape [K, B]

    @property
    def total_rate(self) -> Array:
        """Sampled rate, summed over levels, [K, B]."""
        return sum(self.rate[1:], start=self.rate[0])

    @property
    def log_weights(self) -> Array:
        """log p(x, z) − log q(z|x) = −(rate + distortion), [K, B]."""
        return -(self.total_rate + self.distortion)


class Antithetic(NamedTuple):
    """Terms of coupled samples, in which each Bernoulli level has pairs that differ in its noise alone.

    A chain is one sample of all levels. With P levels in `Model.bernoulli_levels` and N pairs for each,
    `terms` has K = P · 2 · N chains, in the order of an array [P, 2, N]. The chains [p, 0, n] and [p, 1, n]
    are a pair of the Bernoulli level number p. Different pairs are independent.

    The chains of a pair use the same noise at all levels, except at the pair's own level. There the first
    chain uses uniform noise u [B, D_l], and its bits are z = 1[u < σ(η)]. The second chain uses 1 − u. So all
    levels above are equal in both chains, and the posterior logits η of the pair's own level, too. The
    levels below have the same noise, but their distributions depend on the bits above. Each chain alone is
    a sample of q(z|x).

    All bits are constants: neither the straight-through gradient nor another one passes through them.
    Levels that are Gaussian are reparameterised. Everything else has its gradient: logits and densities
    depend on parameters, and on Gaussian levels above.
    """

    terms: Terms  # of K = P · 2 · N chains; the first axis reshapes to [P, 2, N]
    logits: tuple[Array | None, ...]  # per level: η of its own pairs [N, B, D_l], None if Gaussian


class Saddle(NamedTuple):
    """The two players of a saddle point: parameters descend, multipliers ascend."""

    params: PyTree
    multipliers: PyTree  # {constraint name: λ [] > 0}; empty without constraints


class Examples(NamedTuple):
    """Some examples of a data set: a batch or a whole split, as numpy or jax arrays.

    `len(examples)` is the number of fields, as for any tuple.
    """

    x: Any  # [N, *event] float32: images [N, height, width, channels] in [0, 1], vectors, sequences
    labels: Any = None  # classes [N] int32, or real-valued targets, float32 [N] or [N, T]
    context: Any = None  # [N, *event] float32, of any event shape: the input of a conditional model
    # [N] int32: examples with the same number belong together, such as frames of a clip.
    groups: Any = None

    @property
    def num_examples(self) -> int:
        """Number of examples N."""
        return len(self.x)

    def take(self, rows: Any) -> Examples:
        """The examples of these rows: an index array, or a slice."""
        return Examples(*(None if leaf is None else leaf[rows] for leaf in self))


def as_examples(data: Any) -> Examples:
    """`Examples` of x [N, ...] without labels, context or groups. `Examples` pass unchanged."""
    return data if isinstance(data, Examples) else Examples(data)


class Scaling(NamedTuple):
    """The affine map y = (x − mean) / scale of each coordinate. It broadcasts over examples.

    >>> scaling = Scaling(np.float32([1, 0]), np.float32([2, 1]))
    >>> scaling.apply(np.ones((1, 2))), scaling.invert(np.zeros((1, 2)))
    (array([[0., 1.]]), array([[1., 0.]]))
    """

    mean: Any  # of the shape of an event, or broadcast to it
    scale: Any  # > 0

    def apply(self, x: Any) -> Any:
        """y of x. [..., *event] -> the same shape."""
        return (x - self.mean) / self.scale

    def invert(self, y: Any) -> Any:
        """x of y. [..., *event] -> the same shape."""
        return self.mean + self.scale * y

    def log_determinant(self, event_shape: tuple[int, ...]) -> float:
        """log |dy/dx| = −Σ log scale over the coordinates of an event, in nats.

        The log density of x, in the units of the data, is the log density of y plus this number.

        >>> Scaling(np.float32(0), np.float32(2)).log_determinant((3,))
        -2.0794...
        """
        scale = np.broadcast_to(np.asarray(self.scale, np.float64), event_shape)
        return float(-np.log(scale).sum())


class Splits(NamedTuple):
    """A data set, as training sees it."""

    train: Examples
    validation: Examples
    test: Examples
    scaling: Scaling | None = None  # the map that was applied to x after reading; None: none
    conversions: tuple[str, ...] = ()  # sentences about what reading converted, to be printed once

    @property
    def parts(self) -> dict[str, Examples]:
        """The three parts by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    def map(self, function: Callable[[Examples], Examples]) -> Splits:
        """The splits with `function` applied to each of the three parts."""
        train, validation, test = map(function, self.parts.values())
        return self._replace(train=train, validation=validation, test=test)

    def in_data_units(self, x: Any) -> Any:
        """x, or samples of a model, in the units of the data as they were read. [..., *event]."""
        return x if self.scaling is None else self.scaling.invert(x)


# A training step applies it to the x that it has drawn: (key, x) -> x, for example binarisation.
Preprocess = Callable[[PRNGKey, Array], Array]
