"""The limit of a training step on this machine: its products alone, and the bandwidth of the memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from experiments.scaling.work import Product
from vaelab.types import Array

_TRIAD = 32 * 1024 * 1024  # numbers in each array: more than any cache


def bare(products: Mapping[Product, float], num_steps: int) -> Callable[[], Array]:
    """A function that makes these products `num_steps` times, and nothing else."""
    pairs = [
        tuple(jnp.full(each.shape, 0.01, each.dtype) for each in (product.left, product.right))
        for product in products
    ]

    @jax.jit
    def run(pairs: list[tuple[Array, Array]]) -> Array:
        def step(_, total: Array) -> Array:
            for (left, right), (product, times) in zip(pairs, products.items(), strict=True):
                for _ in range(int(times)):
                    # The barriers keep the compiler from moving or shrinking the product.
                    left, right, total = jax.lax.optimization_barrier((left, right, total))
                    out = product(left, right)
                    total = total + jax.lax.optimization_barrier(out).ravel()[0]
            return total

        return jax.lax.fori_loop(0, num_steps, step, jnp.zeros([]))

    return lambda: run(pairs)


def triad(repeats: int = 5) -> tuple[Callable[[], Array], int]:
    """a ← b + a/2 over arrays larger than the caches, and the bytes that it moves. McCalpin, 1995.

    The arrays keep their memory: a new array would cost page faults.
    """
    b = jnp.ones(_TRIAD)

    @jax.jit
    def run(b: Array) -> Array:
        a = jax.lax.fori_loop(0, repeats, lambda _, a: b + 0.5 * a, jnp.zeros_like(b))
        return a[0]

    return lambda: run(b), repeats * 3 * b.nbytes
