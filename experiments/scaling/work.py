"""The work of a function: products of matrices and convolutions, counted in its jaxpr."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr


class Work(NamedTuple):
    """Operations and memory traffic."""

    flops: float = 0.0
    """Floating-point operations of products and convolutions; a multiplication and an addition are two."""
    moved: float = 0.0
    """Bytes of their operands and results, each moved once."""
    products: float = 0.0
    """Number of products and convolutions."""

    def plus(self, other: Work, times: float = 1.0) -> Work:
        """The sum with `times` the other work."""
        return Work(*(a + times * b for a, b in zip(self, other, strict=True)))


def work_of(function: Callable[..., Any], *arguments: Any) -> Work:
    """The work of function(*arguments), whose arguments may be shapes.

    A loop with a static length counts each round. A branch counts the larger of its cases. Elementwise
    operations are left out, and the padding of a convolution counts as data.

    Raises:
      ValueError: a loop of unknown length holds a product.

    >>> import jax.numpy as jnp
    >>> work_of(jnp.matmul, jnp.zeros((3, 4)), jnp.zeros((4, 5)))
    Work(flops=120.0, moved=188.0, products=1.0)
    """
    return _work(jax.make_jaxpr(function)(*arguments).jaxpr)


def _work(jaxpr: Any) -> Work:
    total = Work()
    for equation in jaxpr.eqns:
        name, parameters = equation.primitive.name, equation.params
        if name in ("dot_general", "conv_general_dilated"):
            count = _product if name == "dot_general" else _convolution
            moved = sum(map(_bytes, [*equation.invars, *equation.outvars]))
            total = total.plus(Work(count(equation), moved, 1.0))
        elif name == "cond":
            cases = [_work(branch.jaxpr) for branch in parameters["branches"]]
            total = total.plus(max(cases, key=lambda work: work.flops))
        elif name == "while":
            if any(_work(parameters[part].jaxpr).products for part in ("cond_jaxpr", "body_jaxpr")):
                raise ValueError("a loop of unknown length holds a product.")
        else:
            for inner in _inner(parameters):
                total = total.plus(_work(inner), parameters.get("length", 1))
    return total


def _product(equation: Any) -> float:
    (contracted, _), _ = equation.params["dimension_numbers"]
    left = equation.invars[0].aval.shape
    return 2.0 * math.prod(equation.outvars[0].aval.shape) * math.prod(left[i] for i in contracted)


def _convolution(equation: Any) -> float:
    kernel, parameters = equation.invars[1].aval.shape, equation.params
    summed = math.prod(kernel) / kernel[parameters["dimension_numbers"].rhs_spec[0]]
    zeros = math.prod(parameters["lhs_dilation"])  # between the data of a transposed convolution
    return 2.0 * math.prod(equation.outvars[0].aval.shape) * summed / zeros


def _bytes(variable: Any) -> float:
    return math.prod(variable.aval.shape) * variable.aval.dtype.itemsize


def _inner(parameters: dict[str, Any]) -> Iterator[Any]:
    """The jaxprs that an equation calls."""
    for value in parameters.values():
        for each in value if isinstance(value, tuple | list) else (value,):
            if isinstance(each, Jaxpr):
                yield each
            elif isinstance(each, ClosedJaxpr):
                yield each.jaxpr
