"""ConvDRAW: a recurrent VAE that draws an image in several steps."""

from __future__ import annotations

import math
from typing import Any, ClassVar, NamedTuple

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp

from vaelab.checks import UsageError, check_at_least_one
from vaelab.likelihoods import Decoder
from vaelab.models.base import (
    Latents,
    Model,
    check_decoder,
    check_events,
    check_latents,
    check_level,
)
from vaelab.natural import Gaussian
from vaelab.networks.convlstm import ConvLSTM, State
from vaelab.networks.convolutional import Convolution3x3, depth_to_space, space_to_depth
from vaelab.separate import check_modules
from vaelab.types import Array, Examples, PRNGKey, PyTree, Terms, as_examples


class Encoding(NamedTuple):
    """What x and the context add at every step, computed once; 0 without a context."""

    inference: Array | float  # [B, h, w, 4·hidden], from x and the context
    generation: Array | float  # [B, h, w, 4·hidden], from the context
    prior: Array | float  # [B, h, w, 2·latent_channels], from the context


class Drawing(NamedTuple):
    """State of the generative model between two steps."""

    state: State  # of the generation's cell, each [..., h, w, hidden]
    canvas: Array  # [..., h, w, downsample²·canvas_channels], a vector for each block of pixels


class ConvDRAW(Model):
    """p(x, z_1..z_T | context), drawn in T steps onto a canvas that sums them. A level is a step.

    At step t, with the cells' outputs h_inf and h_gen and the canvas r on an h × w grid of blocks:
    h_inf ← LSTM(x, r, h_gen, context), q(z_t) = N(μ, σ²)(h_inf, h_gen), p(z_t) = N(μ, σ²)(h_gen,
    context), h_gen ← LSTM(z_t, r, context), r ← r + W h_gen. After the last step p(x|z_1..z_T) =
    decoder(r). All steps share their parameters. Gregor et al., 2016, section 2. The canvas replaces the
    error image, as in Eslami et al., 2018.

    Objectives with `weights` are supported: two more passes over the steps compute log q with its parameters
    held, and log p.

    >>> from vaelab import likelihoods, networks
    >>> decoder = likelihoods.BernoulliDecoder(networks.Identity(), shape=(8, 8, 1))
    >>> model = ConvDRAW(decoder, num_steps=3, hidden=4, latent_channels=2)
    >>> x, key = jnp.zeros((5, 8, 8, 1)), jax.random.key(0)
    >>> terms, variables = model.init_with_output(key, x, key, num_samples=2)
    >>> terms.log_weights.shape, len(terms.rate), terms.latents[0].shape, model.latent_dims
    ((2, 5), 3, (2, 5, 8), (8, 8, 8))
    """

    decoder: Decoder
    """p(x|r). Its trunk reads the canvas, feature maps of the image's size."""
    num_steps: int = 8
    """Number of steps T, which is the number of levels."""
    hidden: int = 32
    """Number of channels of both cells."""
    latent_channels: int = 4
    """Number of channels of the maps z_t."""
    canvas_channels: int = 8
    """Number of channels of the canvas, at the image's resolution."""
    downsample: int = 4
    """Number of pixels along each axis for one position of cells and latents. It must divide height and width."""
    context_channels: int | None = None
    """Number of channels of the context images, which have the height and width of x. None is an unconditional model, until `for_data` sees data with a context."""
    remat: bool = False
    """True computes the steps again in the backward pass: less memory, more time."""

    prior_parameters: ClassVar[tuple[str, ...]] = ("prior", "prior_of_context")
    # The generation reads `context_features`, too.
    posterior_parameters: ClassVar[tuple[str, ...]] = (
        "features",
        "inference",
        "posterior",
        "read_to_infer",
    )

    def __post_init__(self) -> None:
        check_at_least_one(
            num_steps=self.num_steps, hidden=self.hidden, latent_channels=self.latent_channels,
            canvas_channels=self.canvas_channels, downsample=self.downsample,
            context_channels=self.context_channels,
        )  # fmt: skip
        check_modules(self)
        check_decoder(self)
        if self.decoder.shape is not None:
            shape = self.decoder.event_shape
            if len(shape) != 3 or shape[0] % self.downsample or shape[1] % self.downsample:
                raise UsageError(
                    f"downsample = {self.downsample} must divide height and width of decoder.shape "
                    f"(height, width, channels), got {shape}."
                )
        if not self.decoder.reads_maps:
            raise UsageError(
                f"decoder.trunk = {type(self.decoder.trunk).__name__} does not keep the canvas's "
                "feature maps: use networks.Identity() or another trunk with output_ndims = 3."
            )
        super().__post_init__()

    @nn.nowrap
    def for_data(self, examples: Examples | Array) -> Model:
        """The same model for these examples: decoder.shape and context_channels are derived.

        Data with a context make a model whose `context_channels` were left out conditional.
        """
        model, context = super().for_data(examples), as_examples(examples).context
        if context is None or self.context_channels is not None:
            return model
        if len(context.shape) != 4:
            raise UsageError(
                "ConvDRAW needs contexts that are images [N, height, width, channels], got the shape "
                f"{tuple(context.shape)}: choose other data, or leave the context out."
            )
        return model.clone(parent=None, context_channels=context.shape[-1])

    @property
    def latent_dims(self) -> tuple[int, ...]:
        """Latent coordinates of each step, h·w·latent_channels."""
        return (math.prod(self._size) * self.latent_channels,) * self.num_steps

    @property
    def depth(self) -> int:
        return self.num_steps

    @property
    def conditional(self) -> bool:
        return self.context_channels is not None

    @property
    def _size(self) -> tuple[int, int]:
        height, width, _ = self.decoder.event_shape
        return height // self.downsample, width // self.downsample

    def setup(self) -> None:
        self.features = Convolution3x3(self.hidden)
        self.inference = ConvLSTM(self._size, self.hidden)
        self.generation = ConvLSTM(self._size, self.hidden)
        self.posterior = Convolution3x3(2 * self.latent_channels)
        self.prior = Convolution3x3(2 * self.latent_channels)
        # Convolutions whose stride is their size are matrix products on blocks of pixels.
        self.read_to_infer = nn.Dense(4 * self.hidden, use_bias=False)
        self.read_to_generate = nn.Dense(4 * self.hidden, use_bias=False)
        self.write = nn.Dense(self.downsample**2 * self.canvas_channels)
        if self.conditional:
            self.context_features = Convolution3x3(self.hidden)
            self.prior_of_context = nn.Dense(2 * self.latent_channels, use_bias=False)

    def encode(self, x: Array, context: Array | None = None) -> Encoding:
        """Everything that the steps need of x and of context [B, height, width, context_channels]."""
        check_events(self, x)
        encoding, context = self._encode_context(context, x.shape[:1])
        constant = nn.relu(self.features(space_to_depth(x, self.downsample)))
        if context is not None:
            constant = jnp.concatenate([constant, context], axis=-1)
        return encoding._replace(inference=self.inference.project(constant))

    def terms(
        self,
        encoding: Encoding,
        x: Array,
        key: PRNGKey,
        num_samples: int = 1,
        weights: Array | None = None,
    ) -> Terms:
        """`Terms` from an encoded x: x is encoded once and may be sampled many times."""
        batch_shape = (num_samples, len(x))
        keys = jax.random.split(key, self.num_steps)
        start = (self.inference.start(batch_shape), self._blank(batch_shape))
        (_, drawing), (rate, kl, z) = self._scan(ConvDRAW._infer, start, encoding, keys)
        latents = tuple(z)
        if weights is not None:
            latents, log_q = self.with_weights(encoding, latents, weights)
            drawing, log_p = self._scan(
                ConvDRAW._weigh_prior, self._blank(batch_shape), encoding, jnp.stack(latents)
            )
            rate = jnp.stack(log_q) - log_p
        likelihood = self._likelihood(drawing)
        return Terms(
            distortion=-likelihood.log_prob(x),
            rate=tuple(rate),
            kl=tuple(kl),
            latents=latents,
            likelihood=likelihood,
        )

    def level_log_posteriors(self, encoding: Encoding, latents: Latents) -> tuple[Array, ...]:
        check_latents(self, latents)
        z = jnp.stack(latents)
        batch_shape = z.shape[1:-1]
        start = (self.inference.start(batch_shape), self._blank(batch_shape))
        return tuple(self._scan(ConvDRAW._weigh_posterior, start, encoding, z)[1])

    def decode(self, latents: Latents, context: Array | None = None) -> Any:
        """p(x|z_1..z_T, context). T arrays [..., B, D_t] and [B or 1, ...] -> batch shape [..., B]."""
        z, encoding = self._given(latents, context)
        drawing, _ = self._scan(ConvDRAW._replay, self._blank(z.shape[1:-1]), encoding, z)
        return self._likelihood(drawing)

    def sample_joint(
        self, key: PRNGKey, num_samples: int, context: Array | None = None
    ) -> tuple[Latents, PyTree]:
        """(z_1..z_T ~ p(·|context), ()): the priors of the steps have no auxiliary variables."""
        check_at_least_one(num_samples=num_samples)
        encoding, _ = self._encode_context(context, (num_samples, 1))
        keys = jax.random.split(key, self.num_steps)
        _, z = self._scan(ConvDRAW._imagine, self._blank((num_samples,)), encoding, keys)
        return tuple(z), ()

    def log_prior(
        self, latents: Latents, key: PRNGKey | None = None, context: Array | None = None
    ) -> Array:
        z, encoding = self._given(latents, context)
        start = self._blank(z.shape[1:-1])
        return self._scan(ConvDRAW._weigh_prior, start, encoding, z)[1].sum(0)

    def log_joint_prior(
        self, latents: Latents, auxiliary: PyTree, context: Array | None = None
    ) -> Array:
        return self.log_prior(latents, context=context)

    def level_posterior(self, encoding: Encoding, level: int = 0) -> distrax.Independent:
        """q(z_1|x), a diagonal Gaussian. Later steps depend on the samples of earlier steps."""
        self._check_level(level)
        batch_shape = encoding.inference.shape[:1]  # type: ignore[union-attr]
        start = self.inference.start(batch_shape)
        _, posterior = self._posterior(start, self._blank(batch_shape), encoding)
        scale = jnp.exp(0.5 * posterior.log_variance)
        return distrax.Independent(distrax.Normal(_flat(posterior.mean), _flat(scale)), 1)

    def level_log_prior(self, z: Array, level: int = 0, key: PRNGKey | None = None) -> Array:
        self._check_level(level)
        if jnp.ndim(z) == 0 or jnp.shape(z)[-1] != self.latent_dims[level]:
            raise UsageError(
                f"z must be an array [..., {self.latent_dims[level]}], the coordinates of level "
                f"{level}, got the shape {jnp.shape(z)}."
            )
        prior = self._prior(self._blank(()), self._encode_context(None, ())[0])
        return _flat(prior.log_prob(self._maps(z))).sum(-1)

    def level_factorises(self, level: int = 0) -> bool:
        self._check_level(level)
        return True

    def resample_level(
        self, key: PRNGKey, latents: Latents, level: int = 0, context: Array | None = None
    ) -> Latents:
        check_level(self, level, self.num_steps, "")
        z, encoding = self._given(latents, context)
        steps = jnp.arange(self.num_steps) == level
        keys = jax.random.split(key, self.num_steps)
        start = self._blank(z.shape[1:-1])
        _, z = self._scan(ConvDRAW._redraw, start, encoding, (z, steps, keys))
        return tuple(z)

    def _check_level(self, level: int) -> None:
        reason = "has no density of its own: each step depends on the samples of earlier steps."
        if self.conditional:
            reason = "has no density of its own: its prior depends on the context."
        check_level(self, level, 0 if self.conditional else 1, reason)

    def _given(self, latents: Latents, context: Array | None) -> tuple[Array, Encoding]:
        """The latents of all steps, [T, ..., B, D_t], and the encoding of the context."""
        check_latents(self, latents)
        z = jnp.stack(latents)
        return z, self._encode_context(context, (*z.shape[1:-1][-1:], 1))[0]

    def _scan(self, step, carry, encoding: Encoding, xs):
        """All steps: one scan, in which they share their parameters."""
        if self.remat:
            step = nn.remat(step, prevent_cse=False)  # needless in a scan
        scan = nn.scan(
            step,
            variable_broadcast="params",
            split_rngs={"params": False},
            in_axes=(nn.broadcast, 0),
            length=self.num_steps,
        )
        return scan(self, carry, encoding, xs)

    def _infer(self, carry: tuple[State, Drawing], encoding: Encoding, key: PRNGKey):
        """One step with z_t ~ q: (rate [K, B], kl [B, D_t], z_t [K, B, D_t])."""
        state, drawing = carry
        state, posterior = self._posterior(state, drawing, encoding)
        prior = self._prior(drawing, encoding)
        z, rate = posterior.sample_and_log_ratio(key, prior)
        kl = posterior.kl(prior)
        drawing = self._draw(drawing, encoding, z)
        return (state, drawing), (_flat(rate).sum(-1), _flat(kl).mean(0), _flat(z))

    def _imagine(self, drawing: Drawing, encoding: Encoding, key: PRNGKey):
        """One step with z_t ~ p: z_t [n, D_t]."""
        z = self._prior(drawing, encoding).sample(key)
        return self._draw(drawing, encoding, z), _flat(z)

    def _replay(self, drawing: Drawing, encoding: Encoding, z: Array):
        """One step with z_t given, [..., D_t]."""
        return self._draw(drawing, encoding, self._maps(z)), None

    def _redraw(self, drawing: Drawing, encoding: Encoding, inputs: tuple[Array, Array, PRNGKey]):
        """One step with z_t given, or with z_t ~ p if it is the step to redraw: z_t [B, D_t]."""
        z, redraw, key = inputs
        z = jnp.where(redraw, self._prior(drawing, encoding).sample(key), self._maps(z))
        return self._draw(drawing, encoding, z), _flat(z)

    def _weigh_prior(self, drawing: Drawing, encoding: Encoding, z: Array):
        """One step with z_t given, [..., D_t], and log p(z_t|z_1..z_t−1), [...]."""
        z = self._maps(z)
        log_prob = _flat(self._prior(drawing, encoding).log_prob(z)).sum(-1)
        return self._draw(drawing, encoding, z), log_prob

    def _weigh_posterior(self, carry: tuple[State, Drawing], encoding: Encoding, z: Array):
        """One step with z_t given, [..., D_t], and log q(z_t|z_1..z_t−1, x), [...]."""
        state, drawing = carry
        z = self._maps(z)
        state, posterior = self._posterior(state, drawing, encoding)
        log_prob = _flat(posterior.log_prob(z)).sum(-1)
        return (state, self._draw(drawing, encoding, z)), log_prob

    def _maps(self, z: Array) -> Array:
        """[..., D_t] -> [..., h, w, latent_channels]."""
        return z.reshape(*z.shape[:-1], *self._size, self.latent_channels)

    def _posterior(
        self, state: State, drawing: Drawing, encoding: Encoding
    ) -> tuple[State, Gaussian]:
        """The cell's next state, and q(z_t) of maps [..., h, w, latent_channels]."""
        h = drawing.state[0]
        offset = encoding.inference + self.read_to_infer(drawing.canvas)
        state = self.inference(state, h, offset)
        maps = self.posterior(jnp.concatenate([state[0], h], axis=-1))
        return state, Gaussian(*jnp.split(maps, 2, axis=-1))

    def _prior(self, drawing: Drawing, encoding: Encoding) -> Gaussian:
        """p(z_t), of maps [..., h, w, latent_channels]."""
        maps = self.prior(drawing.state[0]) + encoding.prior
        return Gaussian(*jnp.split(maps, 2, axis=-1))

    def _draw(self, drawing: Drawing, encoding: Encoding, z: Array) -> Drawing:
        offset = encoding.generation + self.read_to_generate(drawing.canvas)
        state = self.generation(drawing.state, z, offset)
        return Drawing(state, drawing.canvas + self.write(state[0]))

    def _blank(self, batch_shape: tuple[int, ...]) -> Drawing:
        channels = self.downsample**2 * self.canvas_channels
        canvas = jnp.zeros((*batch_shape, *self._size, channels))
        return Drawing(self.generation.start(batch_shape), canvas)

    def _likelihood(self, drawing: Drawing) -> Any:
        return self.decoder(depth_to_space(drawing.canvas, self.downsample))

    def _encode_context(
        self, context: Array | None, numbers: tuple[int, ...]
    ) -> tuple[Encoding, Array | None]:
        """The context's part of an encoding, and its features. `numbers`: valid numbers of contexts."""
        height, width, _ = self.decoder.event_shape
        wanted = (height, width, self.context_channels)
        if not self.conditional:
            if context is not None:
                raise UsageError(
                    "this ConvDRAW is unconditional: leave the context out, or set context_channels "
                    f"to its channels, {context.shape[-1]}."
                )
            return Encoding(0.0, 0.0, 0.0), None
        if context is None:
            raise UsageError(
                f"this ConvDRAW has context_channels = {self.context_channels}: pass a context of "
                f"shape [B, {height}, {width}, {self.context_channels}]."
            )
        if context.shape[1:] != wanted or len(context) not in numbers:
            raise UsageError(
                f"context has the shape {context.shape}: give {numbers[0]} images of shape {wanted}, "
                "the height and width of decoder.shape and context_channels."
            )
        features = nn.relu(self.context_features(space_to_depth(context, self.downsample)))
        generation = self.generation.project(features)
        return Encoding(0.0, generation, self.prior_of_context(features)), features


def _flat(maps: Array) -> Array:
    return maps.reshape(*maps.shape[:-3], -1)
