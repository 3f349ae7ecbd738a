"""Decoders against the likelihoods written out in numpy and scipy, float64."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats
from scipy.special import expit, log_expit
from test_networks import dense, random_variables
from test_quantised import log_mass

from vaelab.likelihoods import (
    BernoulliDecoder,
    CategoricalDecoder,
    DiscretisedLogisticDecoder,
    GaussianDecoder,
    LaplaceDecoder,
    QuantisedNormalDecoder,
)
from vaelab.networks import MLP, DeconvNet, Identity

SHAPE, FLAT = (4, 3, 2), (24,)
LEVELS = 5
FAMILIES = {
    GaussianDecoder: scipy.stats.norm,
    LaplaceDecoder: scipy.stats.laplace,
    QuantisedNormalDecoder: scipy.stats.norm,
    DiscretisedLogisticDecoder: scipy.stats.logistic,
}
BINNED = {QuantisedNormalDecoder, DiscretisedLogisticDecoder}
# Every decoder of the package, each kind of scale: (class, fields).
DECODERS = [
    (BernoulliDecoder, {}),
    (CategoricalDecoder, {"levels": LEVELS}),
    *(
        (decoder, scale | ({"levels": LEVELS} if decoder in BINNED else {}))
        for decoder in FAMILIES
        for scale in ({"learned": True}, {"learned": True, "per_pixel": True}, {"learned": False})
    ),
]


@pytest.mark.parametrize(("decoder", "fields"), DECODERS)
@pytest.mark.parametrize(("batch", "convolutional"), [((), False), ((2, 3), True)])
def test_contract(decoder, fields, batch, convolutional):
    trunk = DeconvNet(SHAPE[:2], (3,), num_features=2) if convolutional else MLP((6,))
    module = decoder(trunk, SHAPE, **fields)

    def use(key):
        likelihood = module.init_with_output(key, jnp.ones((*batch, 2)))[0]
        assert likelihood.batch_shape == batch
        assert likelihood.event_shape == SHAPE
        moments = likelihood.mean(), likelihood.mode(), likelihood.variance()
        samples = likelihood.sample(seed=key, sample_shape=(7,))
        return moments, samples, likelihood.log_prob(jnp.ones(SHAPE))

    moments, samples, log_prob = jax.eval_shape(use, jax.random.key(0))
    assert {moment.shape for moment in moments} == {(*batch, *SHAPE)}
    assert samples.shape == (7, *batch, *SHAPE)
    assert log_prob.shape == batch


def log_prob_of(decoder, x, location, scale):
    """Per pixel."""
    if decoder in BINNED:
        return log_mass(FAMILIES[decoder], x, location, scale, LEVELS)
    return FAMILIES[decoder].logpdf(x, location, scale)


@pytest.mark.parametrize("decoder", FAMILIES)
@pytest.mark.parametrize("kind", ["learned", "per_pixel", "fixed"])
def test_scaled_decoders_equal_scipy(decoder, kind):
    fields = {"levels": LEVELS} if decoder in BINNED else {}
    module = decoder(
        MLP(()), SHAPE, scale=0.3, floor=0.02,
        per_pixel=kind == "per_pixel", learned=kind != "fixed", **fields,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    z, x = rng.normal(size=(4, 5, 2)), rng.integers(0, LEVELS, size=(5, *SHAPE)) / (LEVELS - 1)
    variables = random_variables(module, jnp.asarray(z))
    params = variables["params"]
    outputs = dense(params["Dense_0"], z).reshape(4, 5, *SHAPE, -1)
    scale = 0.3
    if kind == "per_pixel":
        scale = 0.02 + 0.28 * np.exp(outputs[..., 1])
    elif kind == "learned":
        scale = 0.02 + np.exp(float(params["log_scale"]))
        np.testing.assert_allclose(module.global_scale(params), scale, rtol=1e-6)
    if kind != "learned":
        assert "log_scale" not in params
        assert module.global_scale(params) is None
    likelihood = jax.jit(module.apply)(variables, z)
    np.testing.assert_allclose(likelihood.mean(), outputs[..., 0], rtol=1e-5, atol=1e-6)
    expected = log_prob_of(decoder, x, outputs[..., 0], scale).sum((-3, -2, -1))
    np.testing.assert_allclose(likelihood.log_prob(x), expected, rtol=1e-4)


def test_a_scale_starts_where_it_is_told_and_stays_above_its_floor():
    module = GaussianDecoder(MLP(()), FLAT, scale=0.3, floor=0.02, learned=True)
    params = module.init(jax.random.key(0), jnp.ones(2))["params"]
    np.testing.assert_allclose(module.global_scale(params), 0.3, rtol=1e-6)
    sunk = params | {"log_scale": jnp.array(-1000.0)}
    assert module.global_scale(sunk) == pytest.approx(0.02)
    likelihood = module.apply({"params": sunk}, jnp.ones(2))
    np.testing.assert_allclose(likelihood.variance(), 0.02**2, rtol=1e-6)


def test_the_gradient_of_a_learned_scale_is_its_closed_form():
    """∂/∂η of −log p: (s − floor) (D/s − ‖x − g‖²/s³), zero at the root mean squared error."""
    module, floor = GaussianDecoder(MLP(()), FLAT, floor=0.02, learned=True), 0.02
    rng = np.random.default_rng(0)
    z, x = rng.normal(size=2), rng.normal(size=24)
    params = random_variables(module, jnp.asarray(z))["params"]
    squares = np.sum((x - dense(params["Dense_0"], z)) ** 2)

    @jax.jit
    @jax.grad
    def gradient(log_scale):
        likelihood = module.apply({"params": params | {"log_scale": log_scale}}, z)
        return -likelihood.log_prob(x)

    for scale in (0.021, 0.3, 5.0):
        expected = (scale - floor) * (24 / scale - squares / scale**3)
        np.testing.assert_allclose(gradient(np.log(scale - floor)), expected, rtol=1e-3)
    assert abs(gradient(np.log(np.sqrt(squares / 24) - floor))) < 1e-3


@pytest.mark.parametrize("channels", [1, 3])
def test_the_head_of_feature_maps_is_a_1x1_convolution(channels):
    """Pixel (i, j), channel c: the same affine map of the features at (i, j)."""
    rng = np.random.default_rng(0)
    maps, shape = rng.normal(size=(2, 4, 3, 6)), (4, 3, channels)
    module = GaussianDecoder(Identity(), shape, learned=True, per_pixel=True)
    variables = random_variables(module, jnp.asarray(maps))
    kernel = np.asarray(variables["params"]["Dense_0"]["kernel"], np.float64)
    bias = np.asarray(variables["params"]["Dense_0"]["bias"], np.float64)
    assert kernel.shape == (6, 2 * channels)
    likelihood = module.apply(variables, maps)
    for c in range(channels):
        location, log_ratio = (
            np.einsum("bijf,f->bij", maps, kernel[:, 2 * c + k]) + bias[2 * c + k] for k in (0, 1)
        )
        np.testing.assert_allclose(likelihood.mean()[..., c], location, rtol=1e-4, atol=1e-5)
        variance = (1e-3 + 0.099 * np.exp(log_ratio)) ** 2
        np.testing.assert_allclose(likelihood.variance()[..., c], variance, rtol=1e-4)


@pytest.mark.parametrize(("decoder", "fields"), DECODERS)
def test_the_location_is_the_head_s_output_where_pixels_have_one(decoder, fields):
    """Before binning: it may leave [0, 1]. A bit and a grey level have none."""
    module = decoder(MLP(()), SHAPE, **fields)
    z = np.random.default_rng(0).normal(size=(3, 2))
    variables = random_variables(module, jnp.asarray(z))
    location = jax.eval_shape(lambda: module.apply(variables, z).location)
    if decoder in (BernoulliDecoder, CategoricalDecoder):
        assert location is None
        return
    expected = dense(variables["params"]["Dense_0"], z).reshape(3, 24, -1)[..., 0]
    location = module.apply(variables, z).location
    np.testing.assert_allclose(location, expected.reshape(3, *SHAPE), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("decoder", [BernoulliDecoder, GaussianDecoder, CategoricalDecoder])
def test_dense_heads_keep_their_parameter_names(decoder):
    """Checkpoints stay readable."""
    shapes = jax.eval_shape(decoder(MLP((6,)), SHAPE).init, jax.random.key(0), jnp.ones(2))
    shapes = jax.tree.map(lambda leaf: leaf.shape, shapes["params"])
    size = 24 * (256 if decoder is CategoricalDecoder else 1)
    expected = {"Dense_0": {"kernel": (6, size), "bias": (size,)}}
    assert shapes == expected | {"trunk": {"Dense_0": {"kernel": (2, 6), "bias": (6,)}}}


@pytest.mark.parametrize("decoder", FAMILIES)
def test_vmap_over_parameters_and_scales_equals_a_loop(decoder):
    """Each member of a sweep has a scale of its own, a traced field."""
    z, x = jnp.linspace(-40.0, 40.0, 6).reshape(3, 2), jnp.linspace(0.0, 1.0, 24)
    scales, keys = jnp.array([0.01, 0.5]), jax.random.split(jax.random.key(0), 2)

    def member(scale, key):
        module = decoder(MLP(()), FLAT, scale=scale)
        params = module.init(key, z)
        total = lambda params: jnp.sum(module.apply(params, z).log_prob(x))  # noqa: E731
        return jax.value_and_grad(total)(params)

    mapped = jax.jit(jax.vmap(member))(scales, keys)
    loop = [jax.jit(member)(scale, key) for scale, key in zip(scales, keys, strict=True)]
    alone = jax.tree.map(lambda *leaves: np.stack(leaves), *loop)
    for ours, expected in zip(jax.tree.leaves(mapped), jax.tree.leaves(alone), strict=True):
        assert np.all(np.isfinite(ours))
        np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_decoders_say_what_data_they_are_for():
    trunk = MLP((6,))
    for decoder in (GaussianDecoder, LaplaceDecoder):
        assert decoder.data_range == (-np.inf, np.inf)
        assert decoder(trunk, SHAPE).num_levels is None
    for decoder in BINNED:
        assert decoder.data_range == (0.0, 1.0)
        assert decoder(trunk, SHAPE).num_levels == 256
        assert decoder(trunk, SHAPE, levels=17).num_levels == 17


@pytest.mark.parametrize("decoder", [GaussianDecoder, LaplaceDecoder])
@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_a_scale_must_be_positive(decoder, scale):
    with pytest.raises(ValueError, match=f"scale must be positive and finite, got {scale}"):
        decoder(MLP((6,)), SHAPE, scale=scale)


@pytest.mark.parametrize("scale", [1, 5e-4])
def test_a_scale_that_is_not_learned_may_be_an_integer_or_below_the_floor(scale):
    module = QuantisedNormalDecoder(MLP(()), FLAT, scale=scale, learned=False)
    variance = module.init_with_output(jax.random.key(0), jnp.ones(2))[0].variance()
    assert variance.dtype == jnp.float32
    np.testing.assert_allclose(variance, scale**2, rtol=1e-6)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"floor": 0.0}, r"floor must lie between 0 and scale = 0\.1, got 0\.0"),
        ({"scale": 0.1, "floor": 0.2}, r"floor must lie between 0 and scale = 0\.1, got 0\.2"),
        ({"per_pixel": True, "learned": False}, "per_pixel = True needs learned = True"),
        ({"levels": 1}, "levels must be a whole number of at least 2, got 1"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(fields, sentence):
    with pytest.raises(ValueError, match=sentence):
        QuantisedNormalDecoder(MLP((6,)), SHAPE, **fields)


def test_a_number_is_no_shape():
    with pytest.raises(
        ValueError,
        match=r"shape must be a tuple of positive whole numbers, such as \(12,\), got 12\.",
    ):
        BernoulliDecoder(MLP((6,)), 12)


def test_maps_need_a_shape_with_channels():
    with pytest.raises(
        ValueError, match=r"shape is \(4, 3\): make shape \(height, width, channels"
    ):
        BernoulliDecoder(Identity(), (4, 3)).init(jax.random.key(0), jnp.ones((2, 4, 3, 5)))


def test_maps_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"trunk gives maps of \(4, 4\) and shape is \(4, 3, 2\)"):
        BernoulliDecoder(Identity(), SHAPE).init(jax.random.key(0), jnp.ones((2, 4, 4, 5)))


@pytest.mark.parametrize("decoder", [BernoulliDecoder, GaussianDecoder])
@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
@pytest.mark.parametrize("shape", [(5,), (4, 3, 2)])
def test_decoders_have_the_shape_of_an_example(decoder, batch, shape):
    module, z = decoder(MLP((6,)), shape=shape), jnp.ones((*batch, 2))

    def use(key):
        likelihood = module.init_with_output(key, z)[0]
        assert likelihood.batch_shape == batch
        assert likelihood.event_shape == shape
        samples = likelihood.sample(seed=key, sample_shape=(7,))
        return likelihood.mean(), samples, likelihood.log_prob(jnp.ones(shape))

    mean, samples, log_prob = jax.eval_shape(use, jax.random.key(0))
    assert mean.shape == (*batch, *shape)
    assert samples.shape == (7, *batch, *shape)
    assert log_prob.shape == batch


def test_gaussian_decoder_equals_scipy():
    module = GaussianDecoder(MLP((6,)), shape=(3, 2), scale=0.3)
    rng = np.random.default_rng(0)
    z, x = rng.normal(size=(4, 5, 2)), rng.normal(size=(5, 3, 2))
    variables = random_variables(module, jnp.asarray(z))
    params = variables["params"]
    h = np.maximum(dense(params["trunk"]["Dense_0"], z), 0.0)
    mean = dense(params["Dense_0"], h).reshape(4, 5, 3, 2)
    likelihood = module.apply(variables, z)
    np.testing.assert_allclose(likelihood.mean(), mean, rtol=1e-4, atol=1e-5)
    expected = scipy.stats.norm.logpdf(x, mean, 0.3).sum((-2, -1))
    np.testing.assert_allclose(likelihood.log_prob(x), expected, rtol=1e-4)


def test_bernoulli_decoder_equals_scipy():
    module = BernoulliDecoder(MLP((6,)), shape=(3, 2))
    rng = np.random.default_rng(0)
    z, x = rng.normal(size=(4, 5, 2)), rng.integers(0, 2, size=(5, 3, 2))
    variables = random_variables(module, jnp.asarray(z), scale=1.0)
    params = variables["params"]
    h = np.maximum(dense(params["trunk"]["Dense_0"], z), 0.0)
    logits = dense(params["Dense_0"], h).reshape(4, 5, 3, 2)
    likelihood = module.apply(variables, z)
    np.testing.assert_allclose(likelihood.mean(), expit(logits), rtol=1e-4, atol=1e-6)
    expected = (x * log_expit(logits) + (1 - x) * log_expit(-logits)).sum((-2, -1))
    np.testing.assert_allclose(likelihood.log_prob(x), expected, rtol=1e-4)


def test_categorical_decoder_equals_scipy():
    module = CategoricalDecoder(MLP((6,)), shape=(3, 2), levels=5)
    rng = np.random.default_rng(0)
    z, level = rng.normal(size=(4, 5, 2)), rng.integers(0, 5, size=(5, 3, 2))
    variables = random_variables(module, jnp.asarray(z), scale=1.0)
    params = variables["params"]
    h = np.maximum(dense(params["trunk"]["Dense_0"], z), 0.0)
    logits = dense(params["Dense_0"], h).reshape(4, 5, 3, 2, 5)
    likelihood = module.apply(variables, z)
    log_probs = scipy.special.log_softmax(logits, axis=-1)
    index = np.broadcast_to(level, (4, *level.shape))[..., None]
    expected = np.take_along_axis(log_probs, index, -1)[..., 0].sum((-2, -1))
    np.testing.assert_allclose(likelihood.log_prob(level / 4), expected, rtol=1e-4)
    mean = np.exp(log_probs) @ (np.arange(5) / 4)
    np.testing.assert_allclose(likelihood.mean(), mean, rtol=1e-4)


def test_bits_and_levels_say_what_data_they_are_for():
    trunk = MLP((6,))
    assert BernoulliDecoder.data_range == CategoricalDecoder.data_range == (0.0, 1.0)
    assert GaussianDecoder.data_range == (-np.inf, np.inf)
    assert BernoulliDecoder(trunk, (2,)).num_levels == 2
    assert CategoricalDecoder(trunk, (2,), levels=17).num_levels == 17
    assert GaussianDecoder(trunk, (2,)).num_levels is None
    with pytest.raises(ValueError, match="levels must be a whole number of at least 2, got 1"):
        CategoricalDecoder(trunk, (2,), levels=1)
