"""Programs that run a few times only: they are compiled quickly, and not to be fast."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax

_QUICK: dict[str, Any] = {
    "xla_backend_optimization_level": 0,
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
}


def one_off(function: Callable[..., Any], *, static_argnums: int | tuple[int, ...]) -> Any:
    """`jax.jit` for a function that runs a few times: on a CPU it compiles several times faster.

    The program is slower, and its results differ by rounding. It cannot be part of another program.

    >>> double = one_off(lambda number, x: number * x, static_argnums=0)
    >>> int(double(2, 3))
    6
    """

    @functools.cache  # the backend is known when the function is first called
    def compiled() -> Any:
        options = quick_options()
        return jax.jit(function, static_argnums=static_argnums, compiler_options=options)

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        return compiled()(*arguments)

    return call


@functools.cache
def quick_options() -> dict[str, Any]:
    """Options of quick compilation, if the backend is a CPU and its XLA knows them; else none."""
    if jax.default_backend() != "cpu":
        return {}
    try:
        jax.jit(lambda x: x + 1, compiler_options=_QUICK).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return {}
    return _QUICK
