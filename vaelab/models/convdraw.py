"""ConvDRAW: a recurrent VAE that draws an image in several steps."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from vaelab.checks import check_at_least_one
from vaelab.networks import Decoder
from vaelab.networks.convlstm import ConvLSTM, State
from vaelab.networks.convolutional import Convolution3x3, depth_to_space, space_to_depth
from vaelab.networks.separate import separate_modules
from vaelab.types import Array, PRNGKey, PyTree, Terms


class Encoding(NamedTuple):
    """What x and the context add at every step, computed once; 0 where there is nothing."""

    inference: Array | float  # [B, h, w, 4·hidden], from x and the context
    generation: Array | float  # [B, h, w, 4·hidden], from the context
    prior: Array | float  # [B, h, w, 2·latent_channels], from the context


class Drawing(NamedTuple):
    """What p carries from step to step."""

    state: State  # of the generation's cell, each [..., h, w, hidden]
    canvas: Array  # [..., h, w, downsample²·canvas_channels], a vector for each block of pixels


class ConvDRAW(nn.Module):
    """p(x, z_1..z_T | context), drawn in T steps onto a canvas that sums them. A level is a step.

    At step t, with the cells' outputs h_inf and h_gen and the canvas r on an h × w grid of blocks:
    h_inf ← LSTM(x, r, h_gen, context), q(z_t) = N(μ, σ²)(h_inf, h_gen), p(z_t) = N(μ, σ²)(h_gen,
    context), h_gen ← LSTM(z_t, r, context), r ← r + W h_gen; in the end p(x|z_1..z_T) = decoder(r).
    All steps share their parameters. Gregor et al., 2016, section 2; Eslami et al., 2018, for the
    canvas in the place of the error image.

    `weights` are refused: z_t moves the densities of all later steps, so log q's parameters cannot be
    held constant, as the doubly reparameterised gradient wants, without holding those paths as well.

    >>> from vaelab import networks
    >>> decoder = networks.BernoulliDecoder(networks.Identity(), shape=(8, 8, 1))
    >>> model = ConvDRAW(decoder, num_steps=3, hidden=4, latent_channels=2)
    >>> x, key = jnp.zeros((5, 8, 8, 1)), jax.random.key(0)
    >>> terms, variables = model.init_with_output(key, x, key, num_samples=2)
    >>> terms.log_weights.shape, len(terms.rate), terms.latents[0].shape, model.latent_dims
    ((2, 5), 3, (2, 5, 8), (8, 8, 8))
    """

    decoder: Decoder
    """p(x|r), its trunk over feature maps of the image's size: the canvas"""
    num_steps: int = 8
    """steps T, and so levels"""
    hidden: int = 32
    """channels of both cells"""
    latent_channels: int = 4
    """channels of the maps z_t"""
    canvas_channels: int = 8
    """channels of the canvas, at the image's resolution"""
    downsample: int = 4
    """pixels, along each axis, for one position of cells and latents; divides height and width"""
    context_channels: int | None = None
    """channels of the context images, which have x's height and width; None: unconditional"""
    remat: bool = False
    """compute steps again in the backward pass: less memory, more time"""

    def __post_init__(self) -> None:
        check_at_least_one(
            num_steps=self.num_steps, hidden=self.hidden, latent_channels=self.latent_channels,
            canvas_channels=self.canvas_channels, downsample=self.downsample,
            context_channels=self.context_channels,
        )  # fmt: skip
        shape = self.decoder.shape
        if len(shape) != 3 or shape[0] % self.downsample or shape[1] % self.downsample:
            raise ValueError(
                f"downsample = {self.downsample} must divide height and width of decoder.shape "
                f"(height, width, channels), got {shape}."
            )
        if getattr(self.decoder.trunk, "output_ndims", 1) != 3:
            raise ValueError(
                f"decoder.trunk = {type(self.decoder.trunk).__name__} does not keep the canvas's "
                "feature maps: use networks.Identity() or another trunk with output_ndims = 3."
            )
        separate_modules(self)
        super().__post_init__()

    @property
    def latent_dims(self) -> tuple[int, ...]:
        """Latent coordinates of each step, h·w·latent_channels."""
        return (math.prod(self._size) * self.latent_channels,) * self.num_steps

    @property
    def conditional(self) -> bool:
        """Whether the model wants a context."""
        return self.context_channels is not None

    @property
    def exact(self) -> bool:
        """True: every step's prior is a Gaussian."""
        return True

    def with_prior_samples(self, num_samples: int) -> ConvDRAW:
        """The model itself: its prior is exact."""
        del num_samples
        return self

    @property
    def _size(self) -> tuple[int, int]:
        height, width, _ = self.decoder.shape
        return height // self.downsample, width // self.downsample

    def setup(self) -> None:
        self.features = Convolution3x3(self.hidden)
        self.inference = ConvLSTM(self._size, self.hidden)
        self.generation = ConvLSTM(self._size, self.hidden)
        self.posterior = Convolution3x3(2 * self.latent_channels)
        self.prior = Convolution3x3(2 * self.latent_channels)
        # On blocks of pixels, convolutions whose stride is their size are matrix products.
        self.read_to_infer = nn.Dense(4 * self.hidden, use_bias=False)
        self.read_to_generate = nn.Dense(4 * self.hidden, use_bias=False)
        self.write = nn.Dense(self.downsample**2 * self.canvas_channels)
        if self.conditional:
            self.context_features = Convolution3x3(self.hidden)
            self.prior_of_context = nn.Dense(2 * self.latent_channels, use_bias=False)

    def __call__(
        self,
        x: Array,
        key: PRNGKey,
        num_samples: int = 1,
        weights: Array | None = None,
        context: Array | None = None,
    ) -> Terms:
        """The parts of every bound, for `num_samples` draws from q. x [B, height, width, channels]."""
        return self.terms(self.encode(x, context), x, key, num_samples, weights)

    def encode(self, x: Array, context: Array | None = None) -> Encoding:
        """All that the steps need of x and of context [B, height, width, context_channels]."""
        if x.shape[1:] != tuple(self.decoder.shape):
            raise ValueError(
                f"x has images of shape {x.shape[1:]}, and decoder.shape is {self.decoder.shape}: make "
                "them the same."
            )
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
        """`Terms` from an encoded x, so that x can be encoded once and sampled many times."""
        if weights is not None:
            raise ValueError(
                "ConvDRAW has no doubly reparameterised gradient, as each z_t moves all later "
                "densities: use the objective ELBO, ImportanceWeighted or Lagrangian."
            )
        batch_shape = (num_samples, len(x))
        keys = jax.random.split(key, self.num_steps)
        start = (self.inference.start(batch_shape), self._blank(batch_shape))
        (_, drawing), (rate, kl, z) = self._scan(ConvDRAW._infer, start, encoding, keys)
        likelihood = self._likelihood(drawing)
        return Terms(
            distortion=-likelihood.log_prob(x),
            rate=tuple(rate),
            kl=tuple(kl),
            latents=tuple(z),
            likelihood=likelihood,
        )

    def decode(self, latents: tuple[Array, ...], context: Array | None = None) -> Any:
        """p(x|z_1..z_T, context). T arrays [..., B, D_t] and [B or 1, ...] -> batch shape [..., B]."""
        z = jnp.stack(latents)
        dims = (*z.shape[:1], *z.shape[-1:])
        if dims != (self.num_steps, self.latent_dims[0]):
            raise ValueError(
                f"latents are {dims[0]} arrays of {dims[1]} coordinates, and the model has "
                f"{self.num_steps} steps of {self.latent_dims[0]}: pass one array for each step."
            )
        batch_shape = z.shape[1:-1]
        encoding, _ = self._encode_context(context, (*batch_shape[-1:], 1))
        drawing, _ = self._scan(ConvDRAW._replay, self._blank(batch_shape), encoding, z)
        return self._likelihood(drawing)

    def sample_latents(
        self, key: PRNGKey, num_samples: int, context: Array | None = None
    ) -> tuple[Array, ...]:
        """z_1..z_T ~ p(·|context), T arrays [num_samples, D_t]. context: as many images, or one."""
        check_at_least_one(num_samples=num_samples)
        encoding, _ = self._encode_context(context, (num_samples, 1))
        keys = jax.random.split(key, self.num_steps)
        _, z = self._scan(ConvDRAW._imagine, self._blank((num_samples,)), encoding, keys)
        return tuple(z)

    def start_from(self, params: PyTree, x: Array, key: PRNGKey) -> PyTree:
        """Fresh parameters as they are: nothing here starts from the data."""
        del x, key
        return params

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
        h = drawing.state[0]
        offset = encoding.inference + self.read_to_infer(drawing.canvas)
        state = self.inference(state, h, offset)
        maps = self.posterior(jnp.concatenate([state[0], h], axis=-1))
        mean, log_variance = jnp.split(maps, 2, axis=-1)
        prior_mean, prior_log_variance = self._prior(drawing, encoding)
        noise = jax.random.normal(key, mean.shape, mean.dtype)
        z = mean + jnp.exp(0.5 * log_variance) * noise
        ratio = log_variance - prior_log_variance
        precision = jnp.exp(-prior_log_variance)
        rate = 0.5 * (precision * (z - prior_mean) ** 2 - noise**2 - ratio)
        kl = 0.5 * (precision * (mean - prior_mean) ** 2 + jnp.expm1(ratio) - ratio)
        drawing = self._draw(drawing, encoding, z)
        return (state, drawing), (_flat(rate).sum(-1), _flat(kl).mean(0), _flat(z))

    def _imagine(self, drawing: Drawing, encoding: Encoding, key: PRNGKey):
        """One step with z_t ~ p: z_t [n, D_t]."""
        mean, log_variance = self._prior(drawing, encoding)
        noise = jax.random.normal(key, mean.shape, mean.dtype)
        z = mean + jnp.exp(0.5 * log_variance) * noise
        return self._draw(drawing, encoding, z), _flat(z)

    def _replay(self, drawing: Drawing, encoding: Encoding, z: Array):
        """One step with z_t given, [..., D_t]."""
        z = z.reshape(*z.shape[:-1], *self._size, self.latent_channels)
        return self._draw(drawing, encoding, z), None

    def _prior(self, drawing: Drawing, encoding: Encoding) -> list[Array]:
        """Mean and log-variance of p(z_t), maps [..., h, w, latent_channels]."""
        maps = self.prior(drawing.state[0]) + encoding.prior
        return jnp.split(maps, 2, axis=-1)

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
        """The context's part of an encoding, and its features; `numbers` of images that would fit."""
        height, width, _ = self.decoder.shape
        wanted = (height, width, self.context_channels)
        if not self.conditional:
            if context is not None:
                raise ValueError(
                    "this ConvDRAW is unconditional: leave the context out, or set context_channels "
                    f"to its channels, {context.shape[-1]}."
                )
            return Encoding(0.0, 0.0, 0.0), None
        if context is None:
            raise ValueError(
                f"this ConvDRAW has context_channels = {self.context_channels}: pass a context of "
                f"shape [B, {height}, {width}, {self.context_channels}]."
            )
        if context.shape[1:] != wanted or len(context) not in numbers:
            raise ValueError(
                f"context has shape {context.shape}: it must hold {numbers[0]} images of shape "
                f"{wanted}, decoder.shape's height and width and context_channels."
            )
        features = nn.relu(self.context_features(space_to_depth(context, self.downsample)))
        generation = self.generation.project(features)
        return Encoding(0.0, generation, self.prior_of_context(features)), features


def _flat(maps: Array) -> Array:
    return maps.reshape(*maps.shape[:-3], -1)
