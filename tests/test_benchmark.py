"""The limit of the benchmark counts the products and the bytes of a step."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from experiments.benchmark.limit import Work
from experiments.benchmark.rows import row

X, W = jnp.ones((5, 7)), jnp.ones((7, 3))


def test_work_counts_products_forward_and_backward():
    def gradient(w):
        return jax.grad(lambda w: jnp.sum(jax.jit(jnp.tanh)(X @ w)))(w)

    work = Work.of(gradient, W, num_params=W.size)
    assert work.flops == 2 * (2 * 5 * 7 * 3)  # X w, and Xᵀ times the cotangent
    results = 5 * 3 + 7 * 3  # each is written and read
    assert work.num_bytes == 4 * (7 * W.size + 2 * results)
    np.testing.assert_allclose(work.bare(4)(), 4 * 1e-4 * (7 + 5), rtol=1e-5)


def test_work_counts_a_product_in_a_loop_each_time():
    def loop(w):
        return jax.lax.scan(lambda total, _: (jnp.tanh(total + X @ w), None), X @ w, length=6)[0]

    assert Work.of(loop, W, num_params=0).flops == 7 * (2 * 5 * 7 * 3)


def test_work_leaves_out_products_that_no_result_needs():
    work = Work.of(lambda w: (X @ w, X.T @ X)[0], W, num_params=0)
    assert work.flops == 2 * 5 * 7 * 3


def test_a_row_has_the_interval_of_the_ratio_within_rounds():
    measured = row("a / b", [2.0, 6.0, 12.0], [1.0, 2.0, 3.0])
    half = stats.t.ppf(0.975, 2) * stats.sem([2.0, 3.0, 4.0])
    assert measured[1:4] == pytest.approx((3.0, 3.0 - half, 3.0 + half))
    assert measured.milliseconds == 2000.0
