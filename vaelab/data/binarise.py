"""Binary images drawn from grey ones, for every batch or once."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.random import threefry_2x32

from vaelab.checks import check_values
from vaelab.types import Array, Examples, PRNGKey, Splits

SEED = 777  # as in the code of the VampPrior line (Tomczak & Welling, 2018), for comparable numbers


def bernoulli(key: PRNGKey, probs: Array) -> Array:
    """Independent Bernoulli draws, 1 with probability p. [B, ...] -> [B, ...], 0 or 1 in p's dtype.

    Random bits are the cost of a draw, so each block of the generator, two 32-bit words, serves four
    pixels: a pixel is 1 if 16 bits, read as an integer, lie below round(2¹⁶ p). (`jax.random.bits`
    drops half of each block.) The probability that is used lies within 2⁻¹⁷ of p and is exact at every
    multiple of 2⁻¹⁶. The draws do not depend on the sharding of the batch.

    Raises:
      UsageError: values outside [0, 1], such as bytes; traced arrays pass.

    >>> bernoulli(jax.random.key(0), jnp.array([[0.0, 1.0, 1.0]]))
    Array([[0., 1., 1.]], dtype=float32...)
    """
    check_values("probs", probs, 0.0, 1.0)
    batch_size, num_dims = probs.shape[0], math.prod(probs.shape[1:])
    num_blocks = (batch_size, -(-num_dims // 4))
    counts = jnp.arange(2 * math.prod(num_blocks), dtype=jnp.uint32)
    words = threefry_2x32(jax.random.bits(key, (2,), jnp.uint32), counts)
    words = jnp.moveaxis(words.reshape(2, *num_blocks), 0, -1)  # both words of each block
    lanes = jax.lax.bitcast_convert_type(words, jnp.uint16).reshape(batch_size, -1)
    uniform = lanes[:, :num_dims].reshape(probs.shape).astype(jnp.int32)
    return (uniform < jnp.round(probs * 2.0**16).astype(jnp.int32)).astype(probs.dtype)


def binarise_splits(splits: Splits, *, train: bool = False) -> Splits:
    """Binarises validation, then test, then (if `train`) the training images, once.

    One numpy generator with seed 777 draws them in this order, which gives the evaluation images of
    the VampPrior line. Tomczak & Welling, 2018.

    Raises:
      UsageError: values outside [0, 1], such as bytes.

    >>> grey = Examples(np.full((1, 1, 1, 1), 0.5, np.float32), None)
    >>> float(binarise_splits(Splits(grey, grey, grey)).train.x.item())
    0.5
    """
    for name, part in splits.parts.items():
        check_values(f"{name}.x", part.x, 0.0, 1.0)
    # The legacy generator is the published protocol, and numpy has frozen its stream.
    generator = np.random.RandomState(SEED)

    def draw(split: Examples) -> Examples:
        return split._replace(x=generator.binomial(1, split.x).astype(np.float32))

    validation, test = draw(splits.validation), draw(splits.test)
    splits = splits._replace(validation=validation, test=test)
    return splits._replace(train=draw(splits.train)) if train else splits
