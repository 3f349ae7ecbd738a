"""Shapes and ranges that are left out: derived from the data, with today's parameters and numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaelab import networks, priors
from vaelab.likelihoods import (
    BernoulliDecoder,
    CategoricalDecoder,
    GaussianDecoder,
    LaplaceDecoder,
    QuantisedNormalDecoder,
)
from vaelab.models import VAE, VLAE, ConvDRAW, Model
from vaelab.networks import (
    MLP,
    ConditionalFlow,
    ConditionalGaussian,
    ConvNet,
    DeconvNet,
    GatedMLP,
    LadderEncoder,
    LadderGenerator,
)
from vaelab.priors import GTMVampPrior, HierarchicalPrior, ResampledPrior, StandardNormal, VampPrior
from vaelab.types import Examples

KEY = jax.random.key(0)
IMAGES = np.random.default_rng(0).integers(0, 2, (5, 4, 8, 1)).astype(np.float32)
VECTORS = np.random.default_rng(1).normal(size=(5, 6)).astype(np.float32)
RANGE = float(VECTORS.min()), float(VECTORS.max())
SMALL = {"num_steps": 2, "hidden": 2, "latent_channels": 1, "canvas_channels": 1}


class Row(NamedTuple):
    left_out: Callable[[], Model]
    given: Callable[[], Model]
    examples: Examples = Examples(IMAGES)


def flow(trunk) -> ConditionalFlow:
    return ConditionalFlow(trunk, 2, num_layers=1, hidden=(2,))


def gaussian(trunk) -> ConditionalGaussian:
    return ConditionalGaussian(trunk, 2)


SHAPE = (4, 8, 1)
ROWS = {
    "vamp": Row(
        lambda: VAE(gaussian(MLP((4,))), BernoulliDecoder(MLP((4,))), VampPrior(2)),
        lambda: VAE(
            gaussian(MLP((4,), event_ndims=3)),
            BernoulliDecoder(MLP((4,), event_ndims=1), SHAPE),
            VampPrior(2, SHAPE, data_range=(0.0, 1.0)),
        ),
    ),
    "gtm vamp of vectors": Row(
        lambda: VAE(gaussian(GatedMLP((4,))), GaussianDecoder(MLP((4,))), GTMVampPrior(2)),
        lambda: VAE(
            gaussian(GatedMLP((4,), event_ndims=1)),
            GaussianDecoder(MLP((4,), event_ndims=1), (6,)),
            GTMVampPrior(2, (6,), data_range=RANGE),
        ),
        Examples(VECTORS),
    ),
    "convolutions": Row(
        lambda: VAE(
            flow(ConvNet((2,))), LaplaceDecoder(DeconvNet(channels=(2,))), StandardNormal(2)
        ),
        lambda: VAE(
            flow(ConvNet((2,))), LaplaceDecoder(DeconvNet((4, 8), (2,)), SHAPE), StandardNormal(2)
        ),
    ),
    "resampled vamp": Row(
        lambda: VAE(
            flow(MLP((4,))),
            CategoricalDecoder(MLP((4,)), levels=2),
            ResampledPrior(2, proposal=VampPrior(2, encoder=gaussian(MLP((3,))))),
        ),
        lambda: VAE(
            flow(MLP((4,), event_ndims=3)),
            CategoricalDecoder(MLP((4,)), SHAPE, levels=2),
            ResampledPrior(
                2, VampPrior(2, SHAPE, encoder=gaussian(MLP((3,), 3)), data_range=(0.0, 1.0))
            ),
        ),
    ),
    "hierarchical": Row(
        lambda: VAE(
            gaussian(GatedMLP((4,))),
            QuantisedNormalDecoder(GatedMLP((4,)), levels=2),
            HierarchicalPrior(2, hidden=(3,), top=VampPrior(2, num_components=3)),
        ),
        lambda: VAE(
            gaussian(GatedMLP((4,), event_ndims=3)),
            QuantisedNormalDecoder(GatedMLP((4,)), SHAPE, levels=2),
            HierarchicalPrior(2, hidden=(3,), top=VampPrior(2, (2,), num_components=3)),
        ),
    ),
    "vlae": Row(
        lambda: VLAE(
            LadderEncoder((MLP((3,)), MLP((4,))), (2, 1)),
            LadderGenerator((MLP((3,)), MLP((4,)))),
            LaplaceDecoder(MLP(())),
            VampPrior(2, num_components=3),
        ),
        lambda: VLAE(
            LadderEncoder((MLP((3,)), MLP((4,), event_ndims=1)), (2, 1)),
            LadderGenerator((MLP((3,)), MLP((4,)))),
            LaplaceDecoder(MLP(()), (6,)),
            VampPrior(2, (6,), num_components=3, data_range=RANGE),
        ),
        Examples(VECTORS),
    ),
    "convdraw": Row(
        lambda: ConvDRAW(BernoulliDecoder(networks.Identity()), **SMALL),
        lambda: ConvDRAW(BernoulliDecoder(networks.Identity(), SHAPE), **SMALL),
    ),
    "conditional convdraw": Row(
        lambda: ConvDRAW(BernoulliDecoder(networks.Identity()), **SMALL),
        lambda: ConvDRAW(BernoulliDecoder(networks.Identity(), SHAPE), context_channels=3, **SMALL),
        Examples(IMAGES, context=np.repeat(IMAGES, 3, axis=-1)),
    ),
}


@pytest.fixture(params=ROWS)
def row(request) -> Row:
    return ROWS[request.param]


def test_a_model_for_data_has_the_parameters_of_the_same_model_with_shapes_given(row):
    x, _, context, _ = row.examples
    derived = row.left_out().for_data(row.examples)
    make = lambda model: jax.jit(lambda: model.init_with_output(KEY, x, KEY, context=context))()  # noqa: E731
    results = [(terms._replace(likelihood=()), v) for terms, v in map(make, (derived, row.given()))]
    jax.tree.map(np.testing.assert_array_equal, *results)
    derived.check_data(row.examples)


def test_a_model_that_leaves_nothing_out_is_itself(row):
    for model in (row.given(), row.left_out().for_data(row.examples)):
        assert model.for_data(row.examples) is model
    assert (
        row.left_out().for_data(row.examples.x[:1]).decoder.event_shape == row.examples.x.shape[1:]
    )


def test_a_model_without_data_names_the_remedy(row):
    model, (x, _, context, _) = row.left_out(), row.examples
    remedy = (
        r"decoder\.shape is unknown: derive it from the data by model = model\.for_data\(x\), or"
    )
    for call in (
        lambda: model.init(KEY, x, KEY, context=context),
        lambda: model.check_data(row.examples),
    ):
        with pytest.raises(ValueError, match=remedy):
            call()


@pytest.mark.parametrize("prior", [VampPrior, GTMVampPrior])
def test_a_prior_without_a_shape_names_the_remedy(prior):
    with pytest.raises(ValueError, match=f"shape of {prior.__name__} is unknown: derive it from"):
        prior(2).init(KEY, jnp.zeros(2), priors.Given(encode=lambda x: (x, x)))


def test_the_decoders_shape_alone_fits_encoder_and_prior():
    model = VAE(gaussian(MLP((4,))), BernoulliDecoder(MLP((4,)), SHAPE), VampPrior(2))
    assert model.encoder.trunk.event_ndims == 3
    assert (model.prior.shape, model.prior.data_range) == (SHAPE, (0.0, 1.0))
    assert model.decoder.trunk.event_ndims is None  # latents are vectors
    assert model.for_data(IMAGES) is model


def test_one_trunk_in_encoder_and_decoder_is_fitted_in_the_encoder_alone():
    trunk = MLP((4,))
    model = VAE(gaussian(trunk), BernoulliDecoder(trunk, SHAPE), StandardNormal(2))
    assert (model.encoder.trunk.event_ndims, model.decoder.trunk.event_ndims) == (3, None)
    assert trunk.event_ndims is None


def test_settings_that_are_given_stay():
    prior = VampPrior(2, data_range=(-1.0, 2.0))
    model = VAE(gaussian(MLP((4,), event_ndims=1)), GaussianDecoder(MLP((4,))), prior)
    model = model.for_data(IMAGES)
    assert model.encoder.trunk.event_ndims == 1
    assert model.prior.data_range == (-1.0, 2.0)


def test_the_range_of_pseudo_inputs_is_that_of_the_data_where_the_decoder_has_none():
    model = VAE(gaussian(MLP((4,))), GaussianDecoder(MLP((4,)), (6,)), VampPrior(2))
    assert model.prior.data_range is None
    assert model.for_data(VECTORS).prior.data_range == RANGE
    assert model.for_data(np.zeros((3, 6))).prior.data_range is None  # a constant has no range
    start = lambda model: model.init(KEY, VECTORS, KEY)["params"]["prior"]["pseudo_inputs"]  # noqa: E731
    assert start(model).min() >= 0.0  # of (0, 1), as without data
    np.testing.assert_allclose(start(model.for_data(VECTORS)).min(), RANGE[0], atol=0.01)


class OwnTrunk(nn.Module):
    """A network that knows nothing of vaelab."""

    @nn.compact
    def __call__(self, x):
        return nn.relu(nn.Dense(4)(x.reshape(len(x), -1)))


class OwnFittingTrunk(nn.Module):
    """A network that fits itself to the shape of the examples."""

    width: int = 0

    def for_events(self, shape):
        return self if self.width else self.clone(parent=None, width=10 * len(shape))

    @nn.compact
    def __call__(self, x):
        return nn.Dense(self.width)(x.reshape(len(x), -1))


def test_a_trunk_of_your_own_is_used_as_it_is_or_fits_itself():
    decoder = BernoulliDecoder(MLP((4,)))
    own = VAE(gaussian(OwnTrunk()), decoder, VampPrior(2)).for_data(IMAGES)
    assert own.init_with_output(KEY, IMAGES, KEY)[0].distortion.shape == (1, 5)
    fitting = VAE(gaussian(OwnFittingTrunk()), decoder, StandardNormal(2)).for_data(IMAGES)
    assert fitting.encoder.trunk.width == 30
    assert isinstance(OwnFittingTrunk(), networks.TakesEvents)
    assert not isinstance(OwnTrunk(), networks.TakesEvents)
