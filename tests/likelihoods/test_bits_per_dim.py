"""Bits per dimension, against the uniform distribution, which needs log₂ of the number of levels."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaelab.likelihoods import (
    BernoulliDecoder,
    CategoricalDecoder,
    GaussianDecoder,
    LaplaceDecoder,
    PoissonDecoder,
    QuantisedNormalDecoder,
)
from vaelab.networks import MLP

SHAPE = (4, 2, 3)


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_a_uniform_likelihood_over_levels_needs_log2_of_their_number(levels):
    decoder = CategoricalDecoder(MLP((4,)), SHAPE, levels=levels)
    z, key = jnp.zeros((1, 2)), jax.random.key(0)
    params = jax.tree.map(jnp.zeros_like, decoder.init(key, z))  # all logits are 0
    x = np.random.default_rng(0).integers(0, levels, (1, *SHAPE)) / (levels - 1)
    log_prob = decoder.apply(params, z).log_prob(x)[0]
    assert decoder.bits_per_dim(log_prob) == pytest.approx(np.log2(levels), rel=1e-6)


def test_a_fair_coin_needs_one_bit():
    decoder = BernoulliDecoder(MLP((4,)), SHAPE)
    z = jnp.zeros((1, 2))
    params = jax.tree.map(jnp.zeros_like, decoder.init(jax.random.key(0), z))
    log_prob = decoder.apply(params, z).log_prob(jnp.ones((1, *SHAPE)))[0]
    assert decoder.bits_per_dim(log_prob) == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize("decoder", [GaussianDecoder, LaplaceDecoder])
def test_a_density_has_bits_only_for_levels_dequantised_by_a_known_width(decoder):
    decoder = decoder(MLP((4,)), SHAPE)
    assert decoder.discrete is False
    assert decoder.bits_per_dim(-10.0) is None
    # The density 256 on a bin of width 1/256 is certain of the level, the density 1 knows nothing.
    width, num_dims = 1 / 256, np.prod(SHAPE)
    assert decoder.bits_per_dim(num_dims * np.log(256), bin_width=width) == pytest.approx(0.0)
    assert decoder.bits_per_dim(0.0, bin_width=width) == pytest.approx(8.0)


def test_likelihoods_of_discrete_values_say_so():
    for decoder in (PoissonDecoder, QuantisedNormalDecoder, BernoulliDecoder, CategoricalDecoder):
        assert decoder(MLP((4,)), SHAPE).discrete is True
    assert PoissonDecoder(MLP((4,)), (2,)).bits_per_dim(-np.log(4)) == pytest.approx(1.0)
