"""A deep hierarchy of latent maps on a residual stream, top down."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp

from vaelab.checks import (
    UsageError,
    check_at_least_one,
    check_not_negative,
    check_sizes,
)
from vaelab.likelihoods import Decoder
from vaelab.models.base import (
    Latents,
    check_events,
    check_latents,
    check_level,
    check_no_context,
)
from vaelab.models.learned_prior import OF_LOWER_LEVELS, ModelWithPrior
from vaelab.networks.convolutional import depth_to_space
from vaelab.networks.residual import LOG_VARIANCES, BottomUp, Evidence, Level
from vaelab.networks.units import GaussianUnits
from vaelab.priors import Prior
from vaelab.types import Array, PRNGKey, PyTree, Terms


class Encoding(NamedTuple):
    """What the levels need of x."""

    posterior: distrax.Independent  # q(z_0|x), batch shape [B]
    features: tuple[Array, ...]  # per stage [B, h, w, C]


class Stages(nn.Module):
    """One module for each stage: their parameters are one entry of those of the model."""

    stages: tuple[nn.Module, ...]
    """Modules, top first."""


class DeepHierarchy(ModelWithPrior):
    """p(x, z_0..z_L) = p(z_0) Π_l p(z_l|z_<l) p(x|z_0..z_L), with many levels of latent maps below a vector z_0.

    A residual stream of feature maps runs from z_0 to the image. Each level reads it, gives
    p(z_l|z_<l) = N(μ, σ²), adds z_l to it, and transforms it by a residual block. A stage is a number of
    levels at one resolution; they are one scan over stacked parameters, so the time to compile
    depends on the number of stages and hardly on the number of levels. After the last level,
    p(x|z) = decoder(maps at the image's size). The posterior of level l is the normalised product
    q(z_l|z_<l, x) ∝ p(z_l|z_<l) N(z_l; evidence of x): natural parameters add. The evidence reads the stream and the
    features of a deterministic bottom-up encoder, which all levels share. Level 0 is a vector with any prior and
    q(z_0|x) from the encoder alone. Child, 2021, Very deep VAEs; Vahdat & Kautz, 2020, NVAE.

    Log-variances are bounded smoothly, and residual branches start small. Objectives with `weights` are
    supported: `log q` is computed once more with its parameters held.

    >>> from vaelab import likelihoods, networks, priors
    >>> decoder = likelihoods.BernoulliDecoder(networks.Identity(), shape=(8, 8, 1))
    >>> model = DeepHierarchy(
    ...     decoder, priors.StandardNormal(3), downsample=(4, 2), num_levels=(2, 1), hidden=(6, 4),
    ...     inner=(4, 4), latent_channels=2,
    ... )
    >>> x, key = jnp.zeros((5, 8, 8, 1)), jax.random.key(0)
    >>> terms, variables = model.init_with_output(key, x, key, num_samples=2)
    >>> terms.log_weights.shape, model.latent_dims
    ((2, 5), (3, 8, 8, 32))
    """

    decoder: Decoder
    """p(x|z). Its trunk reads feature maps of the image's size."""
    prior: Prior
    """p(z_0)."""
    downsample: tuple[int, ...] = (4, 2)
    """Number of pixels along each axis for one position of the maps of each stage, top first."""
    num_levels: tuple[int, ...] = (8, 4)
    """Number of levels of each stage, top first. The vector z_0 is one more level."""
    hidden: tuple[int, ...] = (64, 32)
    """Number of channels of the residual stream and of the encoder's features in each stage, top first."""
    inner: tuple[int, ...] = (32, 16)
    """Number of channels of the 3×3 convolutions in each stage, top first."""
    latent_channels: int = 4
    """Number of channels of the maps z_l."""
    encoder_blocks: int = 2
    """Number of residual blocks of the encoder in each stage."""
    canvas_channels: int = 8
    """Number of channels of the maps that the decoder reads."""
    activation: Callable[[Array], Array] = nn.silu
    """Nonlinearity before each convolution."""
    remat: bool = False
    """True computes the levels again in the backward pass: less memory, more time."""
    unroll: bool = False
    """True repeats the code of a level for each level: quicker steps, more time to compile."""

    posterior_parameters: ClassVar[tuple[str, ...]] = ("encoder", "posterior", "evidence")

    @nn.nowrap
    def check_settings(self) -> None:
        super().check_settings()
        check_sizes(
            downsample=self.downsample,
            num_levels=self.num_levels,
            hidden=self.hidden,
            inner=self.inner,
        )
        check_at_least_one(
            latent_channels=self.latent_channels, canvas_channels=self.canvas_channels
        )
        check_not_negative(encoder_blocks=self.encoder_blocks)
        self._check_stages()
        if not self.decoder.reads_maps:
            raise UsageError(
                f"decoder.trunk = {type(self.decoder.trunk).__name__} does not keep feature maps: use "
                "networks.Identity() or another trunk with output_ndims = 3."
            )
        if self.decoder.shape is not None:
            shape = self.decoder.event_shape
            size = self.downsample[0]
            if len(shape) != 3 or shape[0] % size or shape[1] % size:
                raise UsageError(
                    f"downsample = {self.downsample} must divide height and width of decoder.shape "
                    f"(height, width, channels), got {shape}."
                )

    @nn.nowrap
    def _check_stages(self) -> None:
        """Raises one sentence if the settings of the stages do not fit together."""
        settings = (self.downsample, self.num_levels, self.hidden, self.inner)
        if not self.num_levels or len({len(setting) for setting in settings}) != 1:
            raise UsageError(
                "downsample, num_levels, hidden and inner must hold one number for each stage, got "
                f"{self.downsample}, {self.num_levels}, {self.hidden} and {self.inner}."
            )
        pairs = zip(self.downsample, self.downsample[1:], strict=False)
        if any(above % below for above, below in pairs):
            raise UsageError(
                "each number of downsample must be a multiple of the next, such as (4, 2), got "
                f"{self.downsample}."
            )

    @property
    def latent_dims(self) -> tuple[int, ...]:
        """Latent coordinates of each level: those of z_0, then h·w·latent_channels."""
        stages = zip(self._sizes, self.num_levels, strict=True)
        below = [(math.prod(size) * self.latent_channels,) * num for size, num in stages]
        return (self.prior.latent_dim, *sum(below, start=()))

    @property
    def depth(self) -> int:
        return 1 + sum(self.num_levels)

    @property
    def label(self) -> str:
        return f"{super().label}, {self.depth} levels"

    @property
    def _sizes(self) -> list[tuple[int, int]]:
        """Height and width of the maps of each stage."""
        height, width, _ = self.decoder.event_shape
        return [(height // size, width // size) for size in self.downsample]

    def setup(self) -> None:
        scale, activation = 1 / sum(self.num_levels), self.activation
        self.encoder = BottomUp(
            self.downsample, self.hidden, self.inner, self.encoder_blocks, activation
        )
        self.posterior = nn.Dense(2 * self.prior.latent_dim)
        evidence = tuple(Evidence(inner, self.latent_channels, activation) for inner in self.inner)
        self.evidence = Stages(evidence)
        stages = zip(evidence, self.inner, self.hidden, strict=True)
        self.levels = Stages(
            tuple(
                Level(seen, inner, hidden, self.latent_channels, scale, activation)
                for seen, inner, hidden in stages
            )
        )
        self.start = nn.Dense(math.prod(self._sizes[0]) * self.hidden[0])
        self.enlarge = [
            nn.Dense((above // below) ** 2 * channels)
            for above, below, channels in zip(
                self.downsample, self.downsample[1:], self.hidden[1:], strict=False
            )
        ]
        self.finish = nn.Dense(self.downsample[-1] ** 2 * self.canvas_channels)

    # The posterior.

    def encode(self, x: Array, context: Array | None = None) -> Encoding:
        """q(z_0|x), and the features of x [B, *event] at each resolution."""
        check_no_context(self, context)
        check_events(self, x)
        features = self.encoder(x)
        units = GaussianUnits(self.prior.latent_dim, LOG_VARIANCES)
        top = units.family(self.posterior(_flat(self.activation(features[0]))))
        return Encoding(units.distribution(top), features)

    def terms(
        self,
        encoding: Encoding,
        x: Array,
        key: PRNGKey,
        num_samples: int = 1,
        weights: Array | None = None,
    ) -> Terms:
        check_at_least_one(num_samples=num_samples)
        top_key, prior_key, key = jax.random.split(key, 3)
        top = encoding.posterior.sample(seed=top_key, sample_shape=(num_samples,))
        state, levels = self._descend(_infer, top, self._keys(key), encoding.features)
        rates, kl, z = map(list, zip(*levels, strict=True))
        latents = (top, *z)
        if weights is None:
            log_ratio = encoding.posterior.log_prob(top)
            log_ratio -= self.prior.log_prob(top, self.given(prior_key))
        else:
            latents, log_q = self.with_weights(encoding, latents, weights)
            log_top = self.prior.log_prob(latents[0], self.given(prior_key, weights))
            state, log_p = self._descend(_weigh_prior, latents[0], self._by_stage(latents))
            log_ratio, *rates = (q - p for q, p in zip(log_q, (log_top, *log_p), strict=True))
        likelihood = self._likelihood(state)
        return Terms(
            distortion=-likelihood.log_prob(x),
            rate=(log_ratio, *rates),
            kl=(self.prior.kl(encoding.posterior), *kl),
            latents=latents,
            likelihood=likelihood,
        )

    def level_log_posteriors(self, encoding: Encoding, latents: Latents) -> tuple[Array, ...]:
        check_latents(self, latents)
        below = self._by_stage(latents)
        _, log_q = self._descend(_weigh_posterior, latents[0], below, encoding.features)
        return (encoding.posterior.log_prob(latents[0]), *log_q)

    # The generative model.

    def decode(self, latents: Latents, context: Array | None = None) -> Any:
        """p(x|z_0..z_L). L arrays [..., B, D_l] -> batch shape [..., B]."""
        check_no_context(self, context)
        check_latents(self, latents)
        return self._likelihood(self._descend(_replay, latents[0], self._by_stage(latents))[0])

    def sample_joint(
        self, key: PRNGKey, num_samples: int, context: Array | None = None
    ) -> tuple[Latents, PyTree]:
        """(z_0..z_L, u), u the auxiliary variables of the prior of z_0."""
        check_no_context(self, context)
        check_at_least_one(num_samples=num_samples)
        top_key, key = jax.random.split(key)
        top, auxiliary = self.prior.sample_joint(top_key, num_samples, self.given())
        return (top, *self._descend(_imagine, top, self._keys(key))[1]), auxiliary

    # One level alone.

    def level_posterior(self, encoding: Encoding, level: int = 0) -> distrax.Independent:
        check_level(self, level, 1, OF_LOWER_LEVELS)
        return encoding.posterior

    def resample_level(
        self, key: PRNGKey, latents: Latents, level: int = 0, context: Array | None = None
    ) -> Latents:
        check_no_context(self, context)
        if level == 0:
            return super().resample_level(key, latents, level)
        check_latents(self, latents)
        check_level(self, level, len(latents), "")
        redraw = self._by_stage((None, *(jnp.asarray(i == level) for i in range(1, len(latents)))))
        given = list(zip(self._by_stage(latents), redraw, self._keys(key), strict=True))
        return (latents[0], *self._descend(_redraw, latents[0], given)[1])

    # The stages.

    def level_log_lower_priors(self, latents: Latents) -> tuple[Array, ...]:
        return self._descend(_weigh_prior, latents[0], self._by_stage(latents))[1]

    def _keys(self, key: PRNGKey) -> list[PRNGKey]:
        """A key for each level below the top, stacked by stage."""
        keys = jax.random.split(key, len(self.num_levels))
        pairs = zip(keys, self.num_levels, strict=True)
        return [jax.random.split(key, num) for key, num in pairs]

    def _by_stage(self, latents: Sequence[Any]) -> list[Array]:
        """The latents below the top, stacked by stage, each [num_levels, ..., B, D_l]."""
        below, stacked = latents[1:], []
        for num in self.num_levels:
            stacked.append(jnp.stack(below[:num]))
            below = below[num:]
        return stacked

    def _descend(
        self,
        step: Callable,
        top: Array,
        given: Sequence[Any],
        features: Sequence[Array | None] | None = None,
    ) -> tuple[Array, tuple[Any, ...]]:
        """All levels below z_0 = top [..., D]: the last state, and what the step returns for each level."""
        state = self.start(top).reshape(*top.shape[:-1], *self._sizes[0], self.hidden[0])
        each = list[Any]()
        for stage, level in enumerate(self.levels.stages):
            if stage:
                ratio = self.downsample[stage - 1] // self.downsample[stage]
                state = depth_to_space(self.enlarge[stage - 1](state), ratio)
            seen = None if features is None else features[stage]
            state, out = self._scan(step, self.num_levels[stage])(level, state, seen, given[stage])
            each += [
                jax.tree.map(lambda leaf, i=i: leaf[i], out) for i in range(self.num_levels[stage])
            ]
        return state, tuple(each)

    def _scan(self, step: Callable, num: int) -> Callable:
        """The levels of one stage, one after the other, each with its own parameters."""
        if self.remat:
            step = nn.remat(step, prevent_cse=self.unroll)  # needless in a scan
        return nn.scan(
            step,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=(nn.broadcast, 0),
            length=num,
            unroll=num if self.unroll else 1,
        )

    def _likelihood(self, state: Array) -> Any:
        maps = depth_to_space(self.finish(self.activation(state)), self.downsample[-1])
        return self.decoder(self.activation(maps))


# Steps of a level: (level, state [..., h, w, C], features [B, h, w, C'] or None, what is scanned).


def _infer(level: Level, state: Array, features: Array, key: PRNGKey):
    """z ~ q: (rate [K, B], kl [B, D], z [K, B, D])."""
    prior = level.prior(state)
    posterior = prior + level.evidence(state, features)
    z, rate = posterior.sample_and_log_ratio(key, prior)
    kl = _flat(posterior.kl(prior)).mean(0)
    return level.draw(state, z), (_flat(rate).sum(-1), kl, _flat(z))


def _imagine(level: Level, state: Array, features: None, key: PRNGKey):
    """z ~ p, [n, D]."""
    prior = level.prior(state)
    z = prior.sample(key)
    return level.draw(state, z), _flat(z)


def _replay(level: Level, state: Array, features: None, z: Array):
    """z given, [..., D]."""
    return level.draw(state, _maps(z, state)), None


def _redraw(level: Level, state: Array, features: None, given: tuple[Array, Array, PRNGKey]):
    """z given, or z ~ p if it is the level to redraw, [..., D]."""
    z, redraw, key = given
    z = jnp.where(redraw, level.prior(state).sample(key), _maps(z, state))
    return level.draw(state, z), _flat(z)


def _weigh_prior(level: Level, state: Array, features: None, z: Array):
    """z given, [..., D], and log p(z|state), [...]."""
    prior = level.prior(state)
    z = _maps(z, state)
    return level.draw(state, z), _flat(prior.log_prob(z)).sum(-1)


def _weigh_posterior(level: Level, state: Array, features: Array, z: Array):
    """z given, [..., D], and log q(z|state, x), [...]."""
    prior = level.prior(state)
    z = _maps(z, state)
    posterior = prior + level.evidence(state, features)
    return level.draw(state, z), _flat(posterior.log_prob(z)).sum(-1)


def _maps(z: Array, state: Array) -> Array:
    """[..., D] -> [..., h, w, latent_channels]."""
    return z.reshape(*z.shape[:-1], *state.shape[-3:-1], -1)


def _flat(maps: Array) -> Array:
    return maps.reshape(*maps.shape[:-3], -1)
