"""The matrix products of a training step and nothing else: what no implementation can do without."""

from __future__ import annotations

import math
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp

from experiments.benchmark.ours import BATCH_SIZE, HIDDEN, LATENT_DIM, SHAPE, Rate


class Layer(NamedTuple):
    """The products of one linear layer: forward, weights' gradient, and the input's where wanted."""

    batch: int
    inputs: int
    outputs: int
    input_gradient: bool = True


def encoder_layers(batch: int, *, input_gradient: bool) -> list[Layer]:
    width, pixels = HIDDEN[0], math.prod(SHAPE)
    first = Layer(batch, pixels, width, input_gradient)
    return [first, Layer(batch, width, width), Layer(batch, width, 2 * LATENT_DIM)]


def vae_layers() -> list[Layer]:
    width, pixels = HIDDEN[0], math.prod(SHAPE)
    decoder = [(LATENT_DIM, width), (width, width), (width, pixels)]
    encoder = encoder_layers(BATCH_SIZE, input_gradient=False)
    return encoder + [Layer(BATCH_SIZE, *dims) for dims in decoder]


def vamp_layers(num_components: int) -> list[Layer]:
    """The VAE's, its encoder's on the pseudo-inputs, and two between latents and components."""
    components = 2 * [Layer(BATCH_SIZE, LATENT_DIM, num_components)]
    return vae_layers() + encoder_layers(num_components, input_gradient=True) + components


def matrix_products(layers: list[Layer], steps: int) -> Rate:
    """The products of one training step, forward and backward, and nothing else."""
    draw = lambda number, *shape: jax.random.normal(jax.random.key(number), shape)  # noqa: E731
    weights = [draw(i, layer.inputs, layer.outputs) for i, layer in enumerate(layers)]
    inputs = [draw(i, layer.batch, layer.inputs) for i, layer in enumerate(layers)]
    outputs = [draw(i, layer.batch, layer.outputs) for i, layer in enumerate(layers)]

    def step(scale, _):
        # Each product depends on the last step, so that none is hoisted out of the loop.
        products = []
        for layer, w, x, g in zip(layers, weights, inputs, outputs, strict=True):
            products += [(x * scale) @ w, (x * scale).T @ g]
            if layer.input_gradient:
                products.append((g * scale) @ w.T)
        products = jax.lax.optimization_barrier(products)
        return 1 + 1e-9 * sum(p[0, 0] for p in products), None

    run = jax.jit(lambda scale: jax.lax.scan(step, scale, None, length=steps)[0])
    run(jnp.float32(1)).block_until_ready()

    def rate() -> float:
        start = time.perf_counter()
        run(jnp.float32(1)).block_until_ready()
        return steps / (time.perf_counter() - start)

    return rate
