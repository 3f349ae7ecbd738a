"""Convolutional trunks against scipy's correlation in float64, and VAE+NVP made of them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.signal import correlate2d
from scipy.special import entr
from test_networks import random_variables

from vaelab.models import VAE
from vaelab.networks import (
    BernoulliDecoder,
    ConditionalFlow,
    ConvNet,
    Convolution3x3,
    DeconvNet,
)
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


def test_depth_to_space_undoes_space_to_depth():
    images = np.random.default_rng(0).normal(size=(2, 3, 4, 6, 5))
    blocks = space_to_depth(jnp.asarray(images), 2)
    for i, j in np.ndindex(2, 3):
        block = images[..., 2 * i : 2 * i + 2, 2 * j : 2 * j + 2, :].reshape(2, 3, -1)
        np.testing.assert_allclose(blocks[..., i, j, :], block, rtol=1e-6)
    np.testing.assert_allclose(depth_to_space(blocks, 2), images, rtol=1e-6)


@pytest.mark.parametrize("size", [8, 16, 28, 32, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_sizes_of_images(size, channels):
    """28 -> 14 -> 7 -> 4, and back to 28."""
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


def test_leading_axes_are_examples():
    """Each image by itself: nothing is normalised over the batch."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 6, 5, 2)), jnp.float32)
    for trunk, inputs in ((ConvNet((3, 4)), x), (DeconvNet((6, 5), (4, 3)), x[..., 0, 0, :])):
        variables = random_variables(trunk, inputs)
        apply = jax.jit(trunk.apply)
        together = apply(variables, inputs)
        for k, b in np.ndindex(2, 3):
            alone = apply(variables, inputs[k, b])
            np.testing.assert_allclose(together[k, b], alone, rtol=1e-4, atol=1e-5)


def test_residual_blocks_start_as_the_identity():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 8, 8, 1)), jnp.float32)
    blocks, none = ConvNet((3,), num_blocks=2), ConvNet((3,), num_blocks=0)
    params = blocks.init(KEY, x)["params"]
    first = {"params": {"Convolution3x3_0": params["Convolution3x3_0"]}}
    ours = jax.jit(blocks.apply)({"params": params}, x)
    np.testing.assert_allclose(ours, jax.jit(none.apply)(first, x), rtol=1e-6, atol=1e-6)
    assert len(params) == 5


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


def test_vae_nvp_trains_vmapped():
    """On four images, each many times, the ELBO rises far beyond independent pixels' log p(x).

    The posterior is a RealNVP on the convolutional trunk. Two members share one program.
    """
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, size=(4, 8, 8, 1))[rng.integers(0, 4, size=32)].astype(np.float32)
    mean = np.mean(x, axis=0, dtype=np.float64)
    entropy = np.sum(entr(mean) + entr(1 - mean))
    model = VAE(
        encoder=ConditionalFlow(ConvNet((4,)), dim=2, num_layers=2, hidden=(8,)),
        decoder=BernoulliDecoder(DeconvNet((8, 8), (8, 4), num_features=4), (8, 8, 1)),
        prior=StandardNormal(2),
    )
    tx = optax.adam(1e-2)

    def train(seed_key):
        def loss(params, key):
            return -jnp.mean(model.apply({"params": params}, x, key).log_weights)

        def step(carry, key):
            params, state = carry
            value, gradient = jax.value_and_grad(loss)(params, key)
            updates, state = tx.update(gradient, state)
            return (optax.apply_updates(params, updates), state), value

        params = model.init(seed_key, x, seed_key)["params"]
        keys = jax.random.split(jax.random.fold_in(seed_key, 1), 80)
        return jax.lax.scan(step, (params, tx.init(params)), keys)[1]

    losses = jax.jit(jax.vmap(train))(jax.random.split(KEY, 2))
    assert np.all(np.mean(losses[:, -10:], axis=1) < 0.5 * entropy)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: ConvNet(()), r"channels must be one positive number or more, got \(\)"),
        (lambda: ConvNet((4, 0)), r"channels must be one positive number or more, got \(4, 0\)"),
        (lambda: ConvNet((4,), num_blocks=-1), "num_blocks must not be negative, got -1"),
        (lambda: DeconvNet((28, 28, 1)), r"shape must be \(height, width\), got \(28, 28, 1\)"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
