"""Binarisation against numpy: the draws bit for bit, their probabilities, and the fixed protocol."""

from __future__ import annotations

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from vaelab.data.binarise import bernoulli, binarise_splits
from vaelab.types import Examples, Splits

KEY = jax.random.key(0)
draw = jax.jit(bernoulli)


def threefry(key, x0, x1):
    """Threefry-2x32 with 20 rounds. Salmon et al., 2011, Parallel random numbers: as easy as 1, 2, 3."""
    keys = [key[0], key[1], key[0] ^ key[1] ^ np.uint32(0x1BD11BDA)]
    x0, x1 = x0 + keys[0], x1 + keys[1]
    for block, rotations in enumerate(([13, 15, 26, 6], [17, 29, 16, 24]) * 2 + ([13, 15, 26, 6],)):
        for r in rotations:
            x0 = x0 + x1
            x1 = x0 ^ ((x1 << np.uint32(r)) | (x1 >> np.uint32(32 - r)))
        x0 = x0 + keys[(block + 1) % 3]
        x1 = x1 + keys[(block + 2) % 3] + np.uint32(block + 1)
    return x0, x1


@pytest.mark.parametrize("shape", [(5, 4), (5, 3, 3, 1), (3, 1)])
def test_each_pixel_compares_sixteen_bits_of_its_own(shape):
    probs = np.random.default_rng(1).random(shape, np.float32)
    num_dims = int(np.prod(shape[1:]))
    num_blocks = -(-num_dims // 4)
    counts = np.arange(2 * shape[0] * num_blocks, dtype=np.uint32)
    words = threefry(np.asarray(jax.random.bits(KEY, (2,), jnp.uint32)), *np.split(counts, 2))
    words = np.stack(words, axis=-1).reshape(shape[0], 2 * num_blocks)
    sixteen_bits = words.astype("<u4").view("<u2")[:, :num_dims].reshape(shape)
    expected = sixteen_bits < np.round(probs.astype(np.float64) * 65536)
    np.testing.assert_array_equal(draw(KEY, jnp.asarray(probs)), expected)


def test_zero_and_one_are_exact():
    # Among 2²² draws of 16 bits every value occurs, the extreme ones included.
    shape = (1024, 4096)
    assert not draw(KEY, jnp.zeros(shape)).any()
    assert draw(KEY, jnp.ones(shape)).all()


def test_frequencies_are_the_probabilities():
    probs = np.array([0.0005, 1 / 255, 0.1, 0.5, 0.75, 254 / 255])
    num_draws = 500_000
    draws = draw(KEY, jnp.broadcast_to(jnp.float32(probs), (num_draws, probs.size)))
    z = (np.asarray(draws).mean(axis=0, dtype=np.float64) - probs) / np.sqrt(
        probs * (1 - probs) / num_draws
    )
    assert np.abs(z).max() < scipy.stats.norm.isf(1e-3 / (2 * z.size))


def test_neighbouring_pixels_and_images_are_independent():
    draws = np.asarray(draw(KEY, jnp.full((50_000, 8), 0.5)), np.float64) * 2 - 1
    pixels = draws.T @ draws / len(draws)  # the four lanes of one block are among these pairs
    images = draws[:-1].T @ draws[1:] / (len(draws) - 1)
    z = np.sqrt(len(draws)) * np.concatenate([pixels[np.triu_indices(8, 1)], images.ravel()])
    assert np.abs(z).max() < scipy.stats.norm.isf(1e-3 / (2 * z.size))


def test_vmap_over_keys_is_the_loop():
    keys = jax.random.split(KEY, 4)
    probs = np.random.default_rng(1).random((6, 5, 5, 1), np.float32)
    looped = jnp.stack([draw(key, probs) for key in keys])
    np.testing.assert_array_equal(
        jax.jit(jax.vmap(bernoulli, in_axes=(0, None)))(keys, probs), looped
    )


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_draws_keep_shape_and_dtype(dtype):
    draws = draw(KEY, jnp.full((2, 3, 3, 1), 0.5, dtype))
    assert draws.shape == (2, 3, 3, 1)
    assert draws.dtype == dtype


@pytest.mark.parametrize("values", [np.uint8([[0, 255]]), np.float32([[0, 1.5]]), np.float32([[-1, 1]]), np.float32([[0, np.nan]])])  # fmt: skip
def test_values_that_are_not_probabilities_are_refused(values):
    with pytest.raises(ValueError, match=r"^probs holds (255|1\.5|-1|nan) in example 0"):
        bernoulli(KEY, values)
    draw(KEY, jnp.asarray(values, jnp.float32))  # traced values pass


SHARDED = """
import jax
jax.config.update("jax_num_cpu_devices", 4)
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from vaelab.data import bernoulli

key, probs = jax.random.key(0), jax.random.uniform(jax.random.key(1), (8, 5, 5, 1))
alone = jax.jit(bernoulli)(key, probs)
for num_devices in (2, 4):
    mesh = jax.make_mesh((num_devices,), ("data",), (AxisType.Auto,), devices=jax.devices()[:num_devices])
    split = jax.device_put(probs, NamedSharding(mesh, PartitionSpec("data")))
    drawn = jax.jit(bernoulli)(key, split)
    assert len(drawn.sharding.device_set) == num_devices
    np.testing.assert_array_equal(drawn, alone)
"""


def test_sharding_the_batch_changes_nothing():
    # The number of devices is fixed when JAX starts, so this needs a process of its own.
    subprocess.run([sys.executable, "-c", SHARDED], check=True)


@pytest.fixture
def grey() -> Splits:
    generator = np.random.default_rng(0)
    return Splits(
        *(
            Examples(
                generator.random((num_images, 6, 5, 1), np.float32),
                np.arange(num_images, dtype=np.int32),
            )
            for num_images in (7, 4, 5)
        )
    )


def test_one_stream_of_seed_777_draws_validation_test_train(grey):
    np.random.seed(777)  # noqa: NPY002, this is the published code, word for word
    validation = np.random.binomial(1, grey.validation.x.reshape(4, 30))  # noqa: NPY002
    test = np.random.binomial(1, grey.test.x.reshape(5, 30))  # noqa: NPY002
    train = np.random.binomial(1, grey.train.x.reshape(7, 30))  # noqa: NPY002

    dynamic, fixed = binarise_splits(grey), binarise_splits(grey, train=True)
    for splits in (dynamic, fixed):
        np.testing.assert_array_equal(splits.validation.x.reshape(4, 30), validation)
        np.testing.assert_array_equal(splits.test.x.reshape(5, 30), test)
        np.testing.assert_array_equal(splits.test.labels, grey.test.labels)
    np.testing.assert_array_equal(dynamic.train.x, grey.train.x)
    np.testing.assert_array_equal(fixed.train.x.reshape(7, 30), train)
    assert {split.x.dtype for split in fixed.parts.values()} == {np.dtype(np.float32)}
