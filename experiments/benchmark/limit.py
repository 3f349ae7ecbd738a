"""The limit of a training step: its matrix products alone, and the bytes that it must move."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr
from jax.interpreters import partial_eval

from vaelab.types import Array, PyTree

_ADAM = 7  # parameter, gradient and two moments are read; all but the gradient are written
_TRIAD = 32 * 1024 * 1024  # numbers in each array: more than any cache


@dataclasses.dataclass(frozen=True)
class Work:
    """The matrix products of one step, forward and backward, and the bytes that it must move.

    Bytes are those of Adam, and of each product's result, which is read again once. Random numbers,
    elementwise functions and the batch itself are not counted: the limit needs none of them.
    """

    products: tuple[tuple[Any, int], ...]  # (shapes, dimension numbers), and how often
    num_bytes: int

    @classmethod
    def of(cls, function: Callable[[PyTree], PyTree], *arguments: PyTree, num_params: int) -> Work:
        """The work of a function, as JAX traces it."""
        closed = jax.make_jaxpr(function)(*arguments)
        jaxpr, _ = partial_eval.dce_jaxpr(closed.jaxpr, [True] * len(closed.jaxpr.outvars))
        counts: collections.Counter = collections.Counter()
        moved = 4 * _ADAM * num_params
        for equation, times in _equations(jaxpr, 1):
            if equation.primitive.name != "dot_general":
                continue
            left, right = (variable.aval.shape for variable in equation.invars)
            counts[left, right, equation.params["dimension_numbers"]] += times
            moved += 2 * 4 * equation.outvars[0].aval.size * times
        return cls(tuple(counts.items()), moved)

    @property
    def flops(self) -> int:
        """Floating-point operations of the products, two for a multiplication with its addition."""
        total = 0
        for (left, right, numbers), times in self.products:
            (contracted, _), _ = numbers
            out = jax.eval_shape(lambda a, b, n=numbers: jax.lax.dot_general(a, b, n), *_shapes(left, right))  # fmt: skip
            for axis in contracted:
                times *= left[axis]
            total += 2 * out.size * times
        return total

    def bare(self, num_steps: int) -> Callable[[], Array]:
        """A function that makes these products `num_steps` times, and nothing else."""
        pairs = [
            (jnp.full(left, 0.01), jnp.full(right, 0.01)) for (left, right, _), _ in self.products
        ]

        @jax.jit
        def run(pairs: list[tuple[Array, Array]]) -> Array:
            def step(_, total: Array) -> Array:
                for (left, right), ((_, _, numbers), times) in zip(
                    pairs, self.products, strict=True
                ):
                    for _ in range(times):
                        # The barriers keep the compiler from moving or shrinking the product.
                        left, right, total = jax.lax.optimization_barrier((left, right, total))
                        out = jax.lax.dot_general(left, right, numbers)
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


def _shapes(*shapes: tuple[int, ...]) -> list[jax.ShapeDtypeStruct]:
    return [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]


def _equations(jaxpr: Jaxpr, times: int) -> Iterator[tuple[Any, int]]:
    """All equations, also of inner functions, and how often each is evaluated."""
    for equation in jaxpr.eqns:
        yield equation, times
        inner = times * equation.params.get("length", 1)  # of a scan
        for value in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda v: isinstance(v, ClosedJaxpr | Jaxpr)
        ):
            if isinstance(value, ClosedJaxpr):
                yield from _equations(value.jaxpr, inner)
            elif isinstance(value, Jaxpr):
                yield from _equations(value, inner)
