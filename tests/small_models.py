"""One small model of each kind, with random parameters: the rows of the tests of the contract of models."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from two_level import TwoLevel

from vaelab.likelihoods import BernoulliDecoder, GaussianDecoder
from vaelab.models import (
    VAE,
    VLAE,
    AllLevels,
    BottomLevel,
    ConvDRAW,
    DeepHierarchy,
    Model,
    TopDownVAE,
)
from vaelab.networks import (
    MLP,
    AdditiveEncoder,
    BernoulliUnits,
    ConditionalFlow,
    ConditionalGaussian,
    DeconvNet,
    Downsample,
    GaussianUnits,
    Identity,
    LadderEncoder,
    LadderGenerator,
    LowerPriors,
    TopDownEncoder,
    Upsample,
)
from vaelab.priors import (
    BernoulliPrior,
    GaussianMixture,
    HierarchicalPrior,
    StandardNormal,
    VampPrior,
)

SHAPE, B, K, D = (4, 4, 1), 3, 4, 2
MANY = 4000  # samples, for statistics
RNG = np.random.default_rng(0)
X = RNG.integers(0, 2, (B, *SHAPE)).astype(np.float32)
CONTEXT = RNG.uniform(size=(B, 4, 4, 2)).astype(np.float32)
KEY = jax.random.key(0)


def vae(prior, encoder=ConditionalGaussian, decoder=BernoulliDecoder) -> VAE:
    trunk = MLP((5,), event_ndims=3, activation=jnp.tanh)  # units of a relu may be dead
    return VAE(encoder(trunk, D), decoder(MLP((5,), activation=jnp.tanh), SHAPE), prior)


def convdraw(**fields) -> ConvDRAW:
    decoder = BernoulliDecoder(Identity(), SHAPE)
    return ConvDRAW(
        decoder, num_steps=2, hidden=3, latent_channels=2, canvas_channels=2, downsample=2, **fields
    )


def deep(prior, **fields) -> DeepHierarchy:
    shapes = dict(downsample=(2, 1), num_levels=(2, 1), hidden=(4, 3), inner=(3, 2))
    sizes = dict(latent_channels=1, encoder_blocks=1, canvas_channels=2)
    return DeepHierarchy(BernoulliDecoder(Identity(), SHAPE), prior, **shapes | sizes | fields)


def two_level(prior) -> TwoLevel:
    encoder = lambda dim: ConditionalGaussian(MLP((5,), event_ndims=3, activation=jnp.tanh), dim)  # noqa: E731
    between = ConditionalGaussian(MLP((4,), activation=jnp.tanh), 3)
    decoder = BernoulliDecoder(MLP((5,), activation=jnp.tanh), SHAPE)
    return TwoLevel(encoder(D), encoder(3), between, decoder, prior)


def top_down(units, encoder, prior, reads=BottomLevel()) -> TopDownVAE:  # noqa: B008
    lower_priors = LowerPriors((MLP((4,), activation=jnp.tanh),))
    decoder = BernoulliDecoder(MLP((5,), activation=jnp.tanh), SHAPE)
    return TopDownVAE(units, encoder, lower_priors, decoder, prior, reads)


def trunks():
    return MLP((4,), activation=jnp.tanh), MLP((5,), activation=jnp.tanh)


def conditional_encoder() -> TopDownEncoder:
    net = MLP((4,), activation=jnp.tanh)
    return TopDownEncoder(trunks(), above=(net,), joint=(net,))


GAUSSIANS = GaussianUnits(D), GaussianUnits(3)


def vlae(prior) -> VLAE:
    mlp = lambda: MLP((5,), activation=jnp.tanh)  # noqa: E731
    return VLAE(
        LadderEncoder((mlp(), mlp()), (D, 3)),
        LadderGenerator((mlp(), mlp())),
        BernoulliDecoder(MLP(()), SHAPE),
        prior,
    )


def convolutional_vlae(prior) -> VLAE:
    return VLAE(
        LadderEncoder((MLP((5,), event_ndims=3, activation=jnp.tanh), Downsample(2)), (D, 3)),
        LadderGenerator((DeconvNet((2, 2), (2,), 2), Upsample(2))),
        GaussianDecoder(Identity(), SHAPE),
        prior,
    )


MODELS: dict[str, Callable[[], Model]] = {
    "standard normal": lambda: vae(StandardNormal(D)),
    "mixture": lambda: vae(GaussianMixture(D, num_components=3), decoder=GaussianDecoder),
    "vamp": lambda: vae(VampPrior(D, SHAPE, num_components=3)),
    "hierarchical": lambda: vae(HierarchicalPrior(D, num_samples=2, hidden=(3,))),
    "flow posterior": lambda: vae(StandardNormal(D), ConditionalFlow),
    "two levels, vamp on top": lambda: two_level(VampPrior(D, SHAPE, num_components=3)),
    "shared encoder": lambda: top_down(
        GAUSSIANS, AdditiveEncoder(trunks()), HierarchicalPrior(D, num_samples=2, hidden=(3,))
    ),
    "conditional encoder": lambda: top_down(
        GAUSSIANS, conditional_encoder(), VampPrior(D, SHAPE, num_components=3), AllLevels()
    ),
    "bits, merged on top": lambda: top_down(
        (BernoulliUnits(D), BernoulliUnits(3)),
        AdditiveEncoder(trunks(), merge_top=True),
        BernoulliPrior(D),
    ),
    "vlae, vamp on top": lambda: vlae(VampPrior(D, SHAPE, num_components=3)),
    "vlae, convolutional": lambda: convolutional_vlae(
        HierarchicalPrior(D, num_samples=2, hidden=(3,))
    ),
    "convdraw": convdraw,
    "deep, vamp on top": lambda: deep(VampPrior(D, SHAPE, num_components=3)),
    "convdraw, conditional": lambda: convdraw(context_channels=2),
}


class Case(NamedTuple):
    model: Model
    params: dict
    name: str = ""  # of its row

    @property
    def bound(self) -> Model:
        return self.model.at(self.params)

    @property
    def context(self):
        return CONTEXT if self.model.conditional else None

    @property
    def own_levels(self) -> range:
        return own_levels(self.model)


def own_levels(model: Model) -> range:
    """The levels that have densities of their own."""
    if isinstance(model, VLAE):
        return range(len(model.latent_dims))
    return range(0 if model.conditional else 1)


@functools.cache
def make(name: str) -> Case:
    """A model with random parameters, none of them zero."""
    model = MODELS[name]()
    context = CONTEXT if model.conditional else None
    shapes = jax.eval_shape(lambda: model.init(KEY, X, KEY, context=context))["params"]
    rng = np.random.default_rng(1)
    draw = lambda leaf: jnp.asarray(0.4 * rng.normal(size=leaf.shape), leaf.dtype)  # noqa: E731
    return Case(model, jax.tree.map(draw, shapes), name)


def moved(gradient) -> set[str]:
    """Names of the top-level entries whose gradient is not zero."""
    return {
        name for name, g in gradient.items() if any(np.any(leaf) for leaf in jax.tree.leaves(g))
    }
