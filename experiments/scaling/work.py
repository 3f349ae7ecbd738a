"""The work of a function: products of matrices and convolutions, counted in its jaxpr."""

from __future__ import annotations

import collections
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, Primitive
from jax.interpreters import partial_eval

from vaelab.types import Array

ADAM_BYTES = 28.0
"""Bytes for each parameter: it is read with its gradient and two moments, and all but the gradient are written."""


class Product(NamedTuple):
    """A product of matrices or a convolution, by its shapes."""

    primitive: Primitive
    left: jax.ShapeDtypeStruct
    right: jax.ShapeDtypeStruct
    result: jax.ShapeDtypeStruct
    settings: tuple[tuple[str, Any], ...]

    def __call__(self, left: Array, right: Array) -> Array:
        """The product of two arrays of these shapes."""
        return self.primitive.bind(left, right, **dict(self.settings))

    @property
    def flops(self) -> float:
        """A multiplication and an addition are two. Padding counts as data."""
        numbers = dict(self.settings)["dimension_numbers"]
        if self.primitive.name == "dot_general":
            (contracted, _), _ = numbers
            summed = math.prod(self.left.shape[i] for i in contracted)
            return 2.0 * self.result.size * summed
        zeros = math.prod(dict(self.settings)["lhs_dilation"])  # of a transposed convolution
        summed = self.right.size / self.right.shape[numbers.rhs_spec[0]]
        return 2.0 * self.result.size * summed / zeros


class Work(NamedTuple):
    """Operations and memory traffic of products.

    Two bounds of a step's time use them, and both add `ADAM_BYTES` for each parameter:

    - `experiments.scaling`, on other machines: the larger of the times of `flops` and of `moved`.
    - `experiments.benchmark`, on this one, "limit / step": the measured time of the products alone, plus that
      of `2 * results` bytes, as each result is written and read once. The time of their operands is in the
      measured one.

    Random numbers, elementwise functions and the batch itself are not counted.
    """

    flops: float = 0.0
    """Floating-point operations; a multiplication and an addition are two."""
    moved: float = 0.0
    """Bytes of operands and results, each moved once."""
    products: float = 0.0
    """Number of products and convolutions."""
    results: float = 0.0
    """Bytes of the results alone."""

    def plus(self, other: Work, times: float = 1.0) -> Work:
        """The sum with `times` the other work."""
        return Work(*(a + times * b for a, b in zip(self, other, strict=True)))


def work_of(function: Callable[..., Any], *arguments: Any) -> Work:
    """The work of the products of `function(*arguments)`, whose arguments may be shapes.

    >>> import jax.numpy as jnp
    >>> work_of(jnp.matmul, jnp.zeros((3, 4)), jnp.zeros((4, 5)))
    Work(flops=120.0, moved=188.0, products=1.0, results=60.0)
    """
    return total(products_of(function, *arguments))


def products_of(function: Callable[..., Any], *arguments: Any) -> Mapping[Product, float]:
    """The products that the results of `function(*arguments)` need, and how often each is made.

    A loop with a static length counts each round. A branch counts the case with the most operations.

    Raises:
      ValueError: a loop of unknown length holds a product.
    """
    jaxpr = jax.make_jaxpr(function)(*arguments).jaxpr
    needed, _ = partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))
    return _products(needed)


def total(products: Mapping[Product, float]) -> Work:
    """The work of all products."""
    work = Work()
    for product, times in products.items():
        sizes = [_bytes(each) for each in (product.left, product.right, product.result)]
        work = work.plus(Work(product.flops, sum(sizes), 1.0, sizes[-1]), times)
    return work


def _products(jaxpr: Any) -> collections.Counter[Product]:
    found: collections.Counter[Product] = collections.Counter()
    for equation in jaxpr.eqns:
        name, parameters = equation.primitive.name, equation.params
        if name in ("dot_general", "conv_general_dilated"):
            left, right, result = (
                jax.ShapeDtypeStruct(variable.aval.shape, variable.aval.dtype)
                for variable in (*equation.invars, *equation.outvars)
            )
            settings = tuple(parameters.items())
            found[Product(equation.primitive, left, right, result, settings)] += 1
        elif name == "cond":
            cases = [_products(branch.jaxpr) for branch in parameters["branches"]]
            found.update(max(cases, key=lambda case: total(case).flops))
        elif name == "while":
            if any(_products(parameters[part].jaxpr) for part in ("cond_jaxpr", "body_jaxpr")):
                raise ValueError("a loop of unknown length holds a product.")
        else:
            for inner in _inner(parameters):
                for product, times in _products(inner).items():
                    found[product] += times * parameters.get("length", 1)
    return found


def _bytes(array: jax.ShapeDtypeStruct) -> float:
    return array.size * array.dtype.itemsize


def _inner(parameters: dict[str, Any]) -> Iterator[Any]:
    """The jaxprs that an equation calls."""
    for value in parameters.values():
        for each in value if isinstance(value, tuple | list) else (value,):
            if isinstance(each, Jaxpr):
                yield each
            elif isinstance(each, ClosedJaxpr):
                yield each.jaxpr
