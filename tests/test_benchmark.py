"""The limit of the benchmark counts the products and the bytes of a step."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from experiments.benchmark.limit import bare
from experiments.benchmark.rows import row
from experiments.scaling.work import products_of, total, work_of

X, W = jnp.ones((5, 7)), jnp.ones((7, 3))


def test_work_counts_products_forward_and_backward():
    def gradient(w):
        return jax.grad(lambda w: jnp.sum(jax.jit(jnp.tanh)(X @ w)))(w)

    products = products_of(gradient, W)
    assert total(products).flops == 2 * (2 * 5 * 7 * 3)  # X w, and Xᵀ times the cotangent
    assert total(products).results == 4 * (5 * 3 + 7 * 3)
    np.testing.assert_allclose(bare(products, 4)(), 4 * 1e-4 * (7 + 5), rtol=1e-5)


def test_a_bare_program_makes_convolutions():
    images, kernel = jnp.ones((2, 6, 6, 3)), jnp.ones((3, 3, 3, 4))
    products = products_of(
        lambda x, k: jax.lax.conv(x, k, (1, 1), "VALID"),
        *(each.transpose(axes) for each, axes in ((images, (0, 3, 1, 2)), (kernel, (3, 2, 0, 1)))),
    )
    np.testing.assert_allclose(bare(products, 2)(), 2 * 1e-4 * 3 * 3 * 3, rtol=1e-5)


def test_work_leaves_out_products_that_no_result_needs():
    work = work_of(lambda w: (X @ w, X.T @ X)[0], W)
    assert work.flops == 2 * 5 * 7 * 3


def test_a_row_has_the_interval_of_the_ratio_within_rounds():
    measured = row("a / b", [2.0, 6.0, 12.0], [1.0, 2.0, 3.0])
    half = stats.t.ppf(0.975, 2) * stats.sem([2.0, 3.0, 4.0])
    assert measured[1:4] == pytest.approx((3.0, 3.0 - half, 3.0 + half))
    assert measured.milliseconds == 2000.0
