"""Convolutional trunks against scipy's correlation in float64, and VAE+NVP made of them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.signal import correlate2d
from test_networks import dense, random_variables

from vaelab.likelihoods import GaussianDecoder
from vaelab.models import VAE
from vaelab.networks import MLP, ConditionalFlow, ConvNet, Convolution3x3, DeconvNet, Identity
from vaelab.networks.convolutional import depth_to_space, space_to_depth
from vaelab.priors import StandardNormal

KEY = jax.random.key(0)


def correlation(maps, kernel):
    """Σ_c maps[:, :, c] ⋆ kernel[:, :, c, f], zero-padded. [N, h, w, C] -> [N, h, w, F]."""
    return np.stack(
        [
            [
                sum(
                    correlate2d(image[..., c], kernel[..., c, f], mode="same")
                    for c in range(image.shape[-1])
                )
                for f in range(kernel.shape[-1])
            ]
            for image in maps
        ]
    ).transpose(0, 2, 3, 1)


@pytest.fixture(params=["cpu", "gpu"])
def backend(request, monkeypatch):
    """Either form of the convolution, computed here."""
    monkeypatch.setattr(jax, "default_backend", lambda: request.param)


def test_convolution_equals_scipy(backend):
    rng = np.random.default_rng(0)
    maps, kernel = rng.normal(size=(2, 5, 4, 3)), rng.normal(size=(3, 3, 3, 2))
    bias = rng.normal(size=2)
    ours = Convolution3x3(2).apply({"params": {"kernel": kernel, "bias": bias}}, jnp.asarray(maps))
    np.testing.assert_allclose(ours, correlation(maps, kernel) + bias, rtol=1e-4, atol=1e-5)
    free = Convolution3x3(2, use_bias=False)
    ours = free.apply({"params": {"kernel": kernel}}, jnp.asarray(maps[None]))
    np.testing.assert_allclose(ours, correlation(maps, kernel)[None], rtol=1e-4, atol=1e-5)


def test_gradients_of_a_convolution_are_its_adjoints(backend):
    """It is bilinear: ⟨g, conv(v, k)⟩ and ⟨g, conv(x, u)⟩ along any directions v and u."""
    rng = np.random.default_rng(0)
    maps, v, g = rng.normal(size=(3, 2, 5, 4, 3))
    kernel, u = rng.normal(size=(2, 3, 3, 3, 3))
    module = Convolution3x3(3, use_bias=False)
    apply = lambda maps, kernel: module.apply({"params": {"kernel": kernel}}, maps)  # noqa: E731
    _, pull = jax.vjp(apply, *(jnp.asarray(a, jnp.float32) for a in (maps, kernel)))
    d_maps, d_kernel = pull(jnp.asarray(g, jnp.float32))
    np.testing.assert_allclose(np.sum(d_maps * v), np.sum(g * correlation(v, kernel)), rtol=1e-4)
    np.testing.assert_allclose(np.sum(d_kernel * u), np.sum(g * correlation(maps, u)), rtol=1e-4)


def test_kernels_side_by_side_are_the_kernels_alone(backend):
    """Values and gradients under vmap over maps and kernels, which XLA would make a grouped one of."""
    rng = np.random.default_rng(0)
    maps, kernels = rng.normal(size=(2, 3, 4, 5, 2)), rng.normal(size=(2, 3, 3, 2, 3))
    maps, kernels = jnp.asarray(maps, jnp.float32), jnp.asarray(kernels, jnp.float32)

    def loss(maps, kernel):
        layer = Convolution3x3(3, use_bias=False)
        return jnp.sum(jnp.tanh(layer.apply({"params": {"kernel": kernel}}, maps)))

    together = jax.jit(jax.vmap(jax.value_and_grad(loss, argnums=(0, 1))))(maps, kernels)
    alone = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    for i in range(2):
        for ours, expected in zip(
            jax.tree.leaves(jax.tree.map(lambda leaf, i=i: leaf[i], together)),
            jax.tree.leaves(alone(maps[i], kernels[i])),
            strict=True,
        ):
            np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", ["uint8", "bfloat16"])
def test_maps_of_other_types_are_promoted(backend, dtype):
    maps = jnp.asarray(np.random.default_rng(0).integers(0, 9, size=(2, 4, 3, 2)), dtype)
    layer = Convolution3x3(3)
    variables = random_variables(layer, maps)
    ours = layer.apply(variables, maps)
    assert ours.dtype == jnp.float32
    np.testing.assert_allclose(ours, layer.apply(variables, maps.astype(jnp.float32)), rtol=1e-5)


def test_depth_to_space_undoes_space_to_depth():
    images = np.random.default_rng(0).normal(size=(2, 3, 4, 6, 5))
    blocks = space_to_depth(jnp.asarray(images), 2)
    for i, j in np.ndindex(2, 3):
        block = images[..., 2 * i : 2 * i + 2, 2 * j : 2 * j + 2, :].reshape(2, 3, -1)
        np.testing.assert_allclose(blocks[..., i, j, :], block, rtol=1e-6)
    np.testing.assert_allclose(depth_to_space(blocks, 2), images, rtol=1e-6)


@pytest.mark.parametrize("size", [7, 16, 27, 28, 32, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_sizes_of_images(size, channels):
    """28 with three halvings: as 32 -> 16 -> 8 -> 4, and back, cropped to 28."""
    x = jnp.ones((2, 5, size, size, channels))
    for halvings in (1, 2, 3):
        widths = (4, 6, 8)[:halvings]
        h = jax.eval_shape(ConvNet(widths).init_with_output, KEY, x)[0]
        smallest = -(-size // 2**halvings)
        assert h.shape == (2, 5, smallest**2 * widths[-1])
        trunk = DeconvNet((size, size), widths[::-1], num_features=3)
        maps = jax.eval_shape(trunk.init_with_output, KEY, jnp.ones((2, 5, 7)))[0]
        assert maps.shape == (2, 5, size, size, 3)


def test_rectangles():
    trunk = DeconvNet((6, 10), (4, 3))
    assert jax.eval_shape(trunk.init_with_output, KEY, jnp.ones(7))[0].shape == (6, 10, 16)
    h = jax.eval_shape(ConvNet((4, 3)).init_with_output, KEY, jnp.ones((6, 10, 2)))[0]
    assert h.shape == (2 * 3 * 3,)


def test_odd_images_are_images_with_zeros_below_and_to_the_right():
    x = np.random.default_rng(0).normal(size=(2, 5, 7, 1)).astype(np.float32)
    trunk = ConvNet((2, 3), num_blocks=0)
    variables = random_variables(trunk, x)
    padded = np.pad(x, ((0, 0), (0, 3), (0, 1), (0, 0)))
    np.testing.assert_array_equal(trunk.apply(variables, x), trunk.apply(variables, padded))


def test_deconvolution_equals_numpy():
    """Two doublings of 2 × 1 maps, cropped to 5 × 3; feature (2a + b)·F + f is pixel (a, b)'s f."""
    z = np.random.default_rng(0).normal(size=(2, 3))
    trunk = DeconvNet((5, 3), (3, 2), num_features=4, activation=jnp.tanh)
    variables = random_variables(trunk, jnp.asarray(z))
    params, layers = variables["params"], iter(range(6))

    def convolve(h):
        layer = params[f"Convolution3x3_{next(layers)}"]
        out = correlation(np.tanh(h), np.asarray(layer["kernel"], np.float64))
        return out + np.asarray(layer["bias"], np.float64)

    h = dense(params["Dense_0"], z).reshape(2, 2, 1, 3)
    for features in (2, 4):
        h = h + convolve(convolve(h))
        blocks = convolve(h)
        h = np.zeros((2, 2 * h.shape[1], 2 * h.shape[2], features))
        for a, b in np.ndindex(2, 2):
            first = (2 * a + b) * features
            h[:, a::2, b::2] = blocks[..., first : first + features]
    assert next(layers, None) is None
    ours = jax.jit(trunk.apply)(variables, z)
    np.testing.assert_allclose(ours, np.tanh(h)[:, :5, :3], rtol=1e-4, atol=1e-5)


def test_identity_gives_maps_as_they_are():
    maps = jnp.arange(24.0).reshape(2, 3, 2, 2)
    assert Identity().apply({}, maps) is maps
    assert Identity.output_ndims == DeconvNet.output_ndims == 3


def test_leading_axes_are_examples():
    """Each image by itself: nothing is normalised over the batch."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 6, 5, 2)), jnp.float32)
    for trunk, inputs in ((ConvNet((3, 4)), x), (DeconvNet((6, 5), (4, 3)), x[..., 0, 0, :])):
        variables = random_variables(trunk, inputs)
        apply = jax.jit(trunk.apply)
        together = apply(variables, inputs)
        for k, b in ((0, 0), (1, 2)):
            alone = apply(variables, inputs[k, b])
            np.testing.assert_allclose(together[k, b], alone, rtol=1e-4, atol=1e-5)


def test_residual_blocks_start_as_the_identity():
    """Not so their first convolutions, which would keep the second's gradient at zero for good."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4, 4, 1)), jnp.float32)
    blocks, none = ConvNet((3,)), ConvNet((3,), num_blocks=0)
    params = jax.jit(blocks.init)(KEY, x)["params"]
    first = {"params": {"Convolution3x3_0": params["Convolution3x3_0"]}}
    ours = jax.jit(blocks.apply)({"params": params}, x)
    np.testing.assert_allclose(ours, jax.jit(none.apply)(first, x), rtol=1e-6, atol=1e-6)
    zero = {name: not np.any(layer["kernel"]) for name, layer in params.items()}
    assert zero == {f"Convolution3x3_{i}": i == 2 for i in range(3)}


def test_a_residual_block_adds_two_convolutions():
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 1))
    trunk = ConvNet((3,), activation=jnp.tanh)
    variables = random_variables(trunk, jnp.asarray(x))

    def convolve(i, h):
        layer = variables["params"][f"Convolution3x3_{i}"]
        return correlation(h, np.asarray(layer["kernel"], np.float64)) + np.asarray(layer["bias"])

    blocks = x.reshape(2, 2, 2, 2, 2).transpose(0, 1, 3, 2, 4).reshape(2, 2, 2, 4)
    h = convolve(0, blocks)
    h = np.tanh(h + convolve(2, np.tanh(convolve(1, np.tanh(h)))))
    np.testing.assert_allclose(trunk.apply(variables, x), h.reshape(2, -1), rtol=1e-4, atol=1e-5)


def test_vae_nvp_learns_and_its_scale_falls():
    """On four images, each many times: a RealNVP posterior on an MLP, a decoder that learns its σ.

    The ELBO ends above the log-likelihood of the best Gaussian without a latent variable, whose σ is
    the data's: σ falls below that, as the maths of a learned scale has it.
    """
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(4, 8, 8, 1))[np.arange(32) % 4].astype(np.float32)
    deviation = np.sqrt(np.mean(np.var(x.astype(np.float64), axis=0)))
    bound = 64 * (0.5 + np.log(deviation * np.sqrt(2 * np.pi)))
    model = VAE(
        encoder=ConditionalFlow(MLP((16,), event_ndims=3), dim=2, num_layers=2, hidden=(8,)),
        decoder=GaussianDecoder(DeconvNet((8, 8), (8,), 8), (8, 8, 1), scale=0.5, learned=True),
        prior=StandardNormal(2),
    )
    tx = optax.adam(1e-2)

    def loss(params, key):
        return -jnp.mean(model.apply({"params": params}, x, key).log_weights)

    def step(carry, key):
        params, state = carry
        value, gradient = jax.value_and_grad(loss)(params, key)
        updates, state = tx.update(gradient, state)
        scale = model.decoder.global_scale(params["decoder"])
        return (optax.apply_updates(params, updates), state), (value, scale)

    @jax.jit
    def train(keys):
        params = model.init(KEY, x, KEY)["params"]
        return jax.lax.scan(step, (params, tx.init(params)), keys)[1]

    losses, scales = train(jax.random.split(KEY, 120))
    assert losses[0] > bound
    assert np.mean(losses[-20:]) < bound - 10
    np.testing.assert_allclose(scales[0], 0.5, rtol=1e-6)
    assert scales[-1] < 0.8 * deviation


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: ConvNet(()), r"channels must hold at least one number, got \(\)"),
        (lambda: ConvNet((4, 0)), r"channels must be a tuple of positive .*, got \(4, 0\)"),
        (
            lambda: ConvNet((4,), num_blocks=-1),
            "num_blocks must be finite and not negative, got -1",
        ),
        (
            lambda: DeconvNet((28, 28), num_features=0),
            "num_features must be at least 1, got 0",
        ),
        (lambda: DeconvNet((0, 28)), r"shape must be a tuple of positive .*, got \(0, 28\)"),
        (
            lambda: ConvNet((4,)).init(KEY, jnp.ones((5, 64))),
            r"x must be images, \[..., height, width, channels\], got \(5, 64\)",
        ),
        (lambda: DeconvNet((28, 28, 1)), r"shape must be \(height, width\), got \(28, 28, 1\)"),
    ],
)
def test_impossible_networks_are_refused_in_a_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
