"""Posteriors q(z_0..z_L−1 | x) of hierarchies. z_0 is the top level.

All of them encode x once, deterministically. They differ in what the posterior of a level depends on
besides x.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp

from vaelab.checks import UsageError, counted
from vaelab.events import for_events
from vaelab.natural import ExponentialFamily
from vaelab.networks.units import Units, as_networks
from vaelab.separate import separate_modules
from vaelab.types import Array


class HierarchyEncoder(nn.Module, abc.ABC):
    """The contract of a posterior of a hierarchy: a deterministic encoding of x, then one level after the other.

    The bottom trunk reads x. Each other trunk reads the output of the trunk below, except in a
    `TopDownEncoder` with `from_x`: there each trunk reads x. `encode` gives one array for each level.
    `posterior` makes q(z_level | x, z_level−1) of it.
    """

    trunks: tuple[nn.Module, ...]
    """Network of each level, top first."""

    independent: ClassVar[bool] = False
    """True if q(z|x) = Π_i q(z_i|x)."""
    uses_lower_priors: ClassVar[bool] = False
    """True if the posterior of the levels below the top contains the model's p(z_i|z_i−1)."""

    def __post_init__(self) -> None:
        self.trunks = as_networks("encoder.trunks", self.trunks)
        if not self.trunks:
            raise UsageError("encoder.trunks holds no network: give one network for each level.")
        self._check_lengths()
        separate_modules(self)
        super().__post_init__()

    @nn.nowrap
    def _check_lengths(self) -> None:
        """Raises one sentence if the networks do not fit together."""

    @nn.nowrap
    def check_levels(self, num_levels: int) -> None:
        """Raises one sentence if there is not one network for each level."""
        if len(self.trunks) != num_levels:
            raise UsageError(
                f"encoder.trunks holds {counted(len(self.trunks), 'network')}, and the model has "
                f"{counted(num_levels, 'level')}: give one network for each level."
            )

    @property
    def uses_prior(self) -> bool:
        """True if the posterior of the top level contains the model's prior."""
        return False

    @nn.nowrap
    def for_events(self, shape: tuple[int, ...]) -> HierarchyEncoder:
        """The same network for examples of this shape, see `networks.TakesEvents`."""
        bottom = for_events(self.trunks[-1], shape)
        if bottom is self.trunks[-1]:
            return self
        return self.clone(parent=None, trunks=(*self.trunks[:-1], bottom))

    def features(self, x: Array) -> tuple[Array, ...]:
        """The output of each trunk, top first. [B, *event] -> arrays [B, F_i] or maps [B, h_i, w_i, C_i]."""
        outputs = []
        for trunk in reversed(self.trunks):
            x = trunk(x)
            outputs.append(x)
        return tuple(reversed(outputs))

    def encode(self, x: Array, units: Sequence[Units]) -> tuple[Array, ...]:
        """What the posterior of each level needs of x, top first. [B, *event] -> arrays [B, N_i].

        Args:
          units: units of each level, top first.
        """
        levels = enumerate(zip(units, self.features(x), strict=True))
        return tuple(self.head(level, unit, _flat(features)) for level, (unit, features) in levels)

    @nn.compact
    def head(self, level: int, units: Units, features: Array) -> Array:
        """The linear layer of a level. [..., F] -> parameters of its units, [..., units.num_parameters]."""
        return nn.Dense(units.num_parameters, name=f"heads_{level}")(features)

    @abc.abstractmethod
    def posterior(
        self,
        units: Units,
        level: int,
        encoding: tuple[Array, ...],
        prior: ExponentialFamily | None = None,
        above: Array | None = None,
    ) -> ExponentialFamily:
        """q(z_level | x, z_level−1), of parameters [B, D] or [..., B, D].

        Args:
          units: units of the level.
          level: 0 is the top.
          encoding: output of `encode`.
          prior: p(z_level|z_level−1). At the top the model's prior, or None if it is of another family.
          above: z_level−1 [..., B, D]. None at the top.
        """


class AdditiveEncoder(HierarchyEncoder):
    """q(z_i | x, z_i−1) ∝ p(z_i|z_i−1) exp⟨ψ(z_i), a_i(x)⟩: natural parameters add.

    Bernoulli units: logits add. Gaussian units: precisions add, and the mean is weighted by them.
    The posterior shares the parameters of p(z_i|z_i−1). Flach, 2022, Structured model learning; Sønderby et al., 2016,
    eqs. 17 and 18, whose posterior of the top level is a_0(x) alone.

    a_i is a linear head on the output of the level's trunk.
    """

    merge_top: bool = False
    """True adds the natural parameters of the prior at the top level, too. The prior must have them."""

    uses_lower_priors: ClassVar[bool] = True

    @property
    def uses_prior(self) -> bool:
        return self.merge_top

    def posterior(self, units, level, encoding, prior=None, above=None):
        del above
        evidence = units.family(encoding[level])
        if level == 0 and not self.merge_top:
            return evidence
        return prior + evidence


class IndependentEncoder(HierarchyEncoder):
    """q(z|x) = Π_i q(z_i|x): levels are independent given x. The stacked VAE of Zhao et al., 2017."""

    independent: ClassVar[bool] = True

    def posterior(self, units, level, encoding, prior=None, above=None):
        del prior, above
        return units.family(encoding[level])


class TopDownEncoder(HierarchyEncoder):
    """q(z_i | x, z_i−1) from a network of its own for each level: q(z_0|x) q(z_1|x, z_0) ...

    The networks `above` and `joint` make it: joint_i([trunk_i, above_i(z_i−1)]), then a linear head. With
    two levels it is the posterior of Tomczak & Welling, 2018, section 4.
    """

    above: tuple[nn.Module, ...] = ()
    """Networks that read z_i−1, one for each level below the top, top first."""
    joint: tuple[nn.Module, ...] = ()
    """Network of both outputs for each level below the top. Left out, the head reads both outputs."""
    from_x: bool = True
    """True: each trunk reads x. False: each trunk reads the output of the trunk below."""

    def __post_init__(self) -> None:
        self.above = as_networks("encoder.above", self.above)
        self.joint = as_networks("encoder.joint", self.joint)
        super().__post_init__()

    @nn.nowrap
    def _check_lengths(self) -> None:
        below = len(self.trunks) - 1
        if len(self.above) != below:
            example = ", ".join(["networks.MLP((32,))"] * below) + "," * (below == 1)
            raise UsageError(
                f"encoder.above holds {counted(len(self.above), 'network')}, and the number of levels below the top "
                f"is {below}: give one network for each, which reads z_i−1, such as above=({example})."
            )
        if self.joint and len(self.joint) != below:
            raise UsageError(
                f"encoder.joint holds {counted(len(self.joint), 'network')}, and the number of levels below the top "
                f"is {below}: give one network for each, or leave joint out."
            )

    @nn.nowrap
    def for_events(self, shape: tuple[int, ...]) -> HierarchyEncoder:
        if not self.from_x:
            return super().for_events(shape)
        trunks = tuple(for_events(trunk, shape) for trunk in self.trunks)
        same = all(new is old for new, old in zip(trunks, self.trunks, strict=True))
        return self if same else self.clone(parent=None, trunks=trunks)

    def features(self, x: Array) -> tuple[Array, ...]:
        if not self.from_x:
            return super().features(x)
        return tuple(trunk(x) for trunk in self.trunks)

    def encode(self, x: Array, units: Sequence[Units]) -> tuple[Array, ...]:
        del units
        return tuple(map(_flat, self.features(x)))

    def posterior(self, units, level, encoding, prior=None, above=None):
        del prior
        features = encoding[level]
        if level:
            above = self.above[level - 1](above)
            features = jnp.broadcast_to(features, (*above.shape[:-1], features.shape[-1]))
            features = jnp.concatenate([features, above], axis=-1)
            if self.joint:
                features = self.joint[level - 1](features)
        return units.family(self.head(level, units, features))


def _flat(features: Array) -> Array:
    """Maps as vectors. [B, ...] -> [B, F]."""
    return features.reshape(len(features), -1)
