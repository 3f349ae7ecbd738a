"""Programs that run a few times only: they are compiled quickly, and not to be fast."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax

# At level 0 programs compile about ten times faster and run two or three times slower. At level 1 they
# compile about twice as fast, and run as fast.
_LEVEL = "xla_backend_optimization_level"
_QUICK: dict[str, Any] = {
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
}


def one_off(
    function: Callable[..., Any], *, static_argnums: int | tuple[int, ...], level: int = 0
) -> Any:
    """`jax.jit` for a function that runs once or a few times. On a CPU it compiles faster.

    Results differ from those of `jax.jit` by rounding. The program cannot be part of another program.

    Args:
      level: 0 for a program that runs once, 1 for one that runs some dozen times.

    >>> double = one_off(lambda number, x: number * x, static_argnums=0)
    >>> int(double(2, 3))
    6
    """

    @functools.cache  # the backend is known when the function is first called
    def compiled() -> Any:
        options = quick_options(level)
        return jax.jit(function, static_argnums=static_argnums, compiler_options=options)

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        return compiled()(*arguments)

    return call


@functools.cache
def quick_options(level: int) -> dict[str, Any]:
    """Options of quick compilation, if the backend is a CPU and its XLA accepts them; else none."""
    if jax.default_backend() != "cpu":
        return {}
    options = {_LEVEL: level, **_QUICK}
    try:
        jax.jit(lambda x: x + 1, compiler_options=options).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return {}
    return options
