"""The cost model of training."""

from __future__ import annotations

import json
import math

import jax
import jax.numpy as jnp
import pytest
from conftest import ROOT  # noqa: F401  experiments are importable from here

from experiments.scaling.__main__ import Scaling, compute_bound_batch, limit
from experiments.scaling.machines import H200, MACHINES, V5E, Machine
from experiments.scaling.models import StepCost
from experiments.scaling.work import Work, work_of
from vaelab.cli import parsing

KERNEL = jnp.zeros((3, 3, 4, 8))
IMAGES = jnp.zeros((2, 10, 10, 4))


def convolve(images, kernel, **settings):
    return jax.lax.conv_general_dilated(
        images,
        kernel,
        (1, 1),
        ((0, 0), (0, 0)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        **settings,
    )


def test_a_batched_product_counts_every_matrix():
    work = work_of(jax.vmap(jnp.matmul), jnp.zeros((7, 3, 4)), jnp.zeros((7, 4, 5)))
    assert work == Work(7 * 2 * 3 * 4 * 5, 7 * 4 * (3 * 4 + 4 * 5 + 3 * 5), 1, 7 * 4 * 3 * 5)


def test_a_gradient_has_three_products_of_the_same_size():
    weights, x = jnp.zeros((4, 5)), jnp.zeros((3, 4))

    def loss(weights, x):
        return jnp.sum(jnp.tanh(x @ weights))

    assert work_of(jax.grad(loss, (0, 1)), weights, x).flops == 3 * 2 * 3 * 4 * 5


def test_a_scan_counts_every_round():
    def power(x):
        return jax.lax.scan(lambda carry, _: (carry @ carry, None), x, length=6)[0]

    assert work_of(jax.jit(power), jnp.zeros((3, 3))).flops == 6 * 2 * 27


def test_a_loop_of_unknown_length_is_refused():
    def loop(x, n):
        return jax.lax.fori_loop(0, n, lambda i, x: x @ x, x)

    with pytest.raises(ValueError, match="unknown length"):
        work_of(loop, jnp.zeros((3, 3)), 4)


def test_a_convolution_counts_kernel_and_channels():
    assert work_of(convolve, IMAGES, KERNEL).flops == 2 * (2 * 8 * 8 * 8) * (3 * 3 * 4)


def test_the_gradients_of_a_convolution_count_as_its_value():
    """Its padding counts as data: the gradient of the images is larger by its border."""

    def loss(images, kernel):
        return jnp.sum(convolve(images, kernel) ** 2)

    once = work_of(convolve, IMAGES, KERNEL).flops
    of_kernel = work_of(jax.grad(loss, 1), IMAGES, KERNEL).flops
    assert of_kernel == 2 * once
    of_images = work_of(jax.grad(loss, 0), IMAGES, KERNEL).flops
    assert of_images == once + once * (10 * 10) / (8 * 8)


def test_zeros_of_a_transposed_convolution_are_not_counted():
    padded = work_of(lambda x, k: convolve(x, k, lhs_dilation=(2, 2)), IMAGES, KERNEL).flops
    size = 2 * 9 + 1 - 2  # of the result
    assert padded == 2 * (2 * size * size * 8) * (3 * 3 * 4) / 4


def test_an_all_reduce_moves_each_sum_once_around_the_ring():
    ring = Machine("ring", V5E, (4,), link=1e9, latency=1e-6)
    assert ring.all_reduce(8e9) == pytest.approx(2 * 3 / 4 * 8 + 6e-6)
    torus = Machine("torus", V5E, (4, 2), link=1e9, latency=0.0)
    # The second axis reduces the quarter that each chip holds after the first.
    assert torus.all_reduce(8e9) == pytest.approx(2 * 3 / 4 * 8 + 2 * 1 / 2 * 2)
    assert Machine("one", V5E, (1,), link=1e9, latency=1.0).all_reduce(8e9) == 0.0


def test_the_machines_have_their_numbers_of_chips():
    assert [machine.num_chips for machine in MACHINES] == [8, 128, 8]


def test_the_compute_bound_batch_balances_computing_and_moving():
    example = Work(flops=1e9, moved=1e5)
    cost = StepCost("made", 100, 10, 160.0, Work(moved=1e9), example)
    batch = compute_bound_batch(cost, H200)
    work = cost.work(batch)
    assert work.flops / H200.flops == pytest.approx(work.moved / H200.bandwidth)
    never = cost._replace(example=Work(flops=1e5, moved=1e5))
    assert math.isinf(compute_bound_batch(never, H200))
    assert limit(never, MACHINES[2]).wider == pytest.approx(H200.flops / H200.bandwidth)


def test_the_command_writes_the_work_of_an_experiment(tmp_path, capsys):
    output = tmp_path / "scaling.json"
    argv = ["digits_vae_elbo", "--no-measure", "--output", str(output)]
    assert parsing.run(Scaling, argv, prog="scaling") == 0
    assert "Limits on v5e-8" in capsys.readouterr().out
    numbers = json.loads(output.read_text())
    (cost,) = numbers["work"]
    # A weight of digits_vae_elbo takes three products of 2 FLOP for an example; the first layer takes two.
    assert cost["example"]["products"] == 0
    assert 4 * cost["parameters"] < cost["example"]["flops"] < 6 * cost["parameters"]
    assert cost["fixed"]["flops"] == 0
    assert len(numbers["limits"]) == len(MACHINES)
