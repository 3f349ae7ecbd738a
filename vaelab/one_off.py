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
) -> OneOff:
    """`jax.jit` for a function that runs once or a few times. On a CPU it compiles faster.

    Results differ from those of `jax.jit` by rounding. A call while another program is traced becomes a
    part of that program, and is compiled as that program is.

    Args:
      level: 0 for a program that runs once, 1 for one that runs some dozen times or more.

    >>> double = one_off(lambda number, x: number * x, static_argnums=0)
    >>> int(double(2, 3)), int(jax.jit(lambda x: double(2, x))(3))
    (6, 6)
    """
    return OneOff(function, static_argnums, level)


class OneOff:
    """A function that `one_off` compiles. `lower` is that of `jax.jit`."""

    def __init__(
        self, function: Callable[..., Any], static_argnums: int | tuple[int, ...], level: int
    ):
        functools.update_wrapper(self, function)
        self._jit = functools.partial(jax.jit, function, static_argnums=static_argnums)
        self._level = level

    def __call__(self, *arguments: Any) -> Any:
        return (self._part if is_traced() else self._quick)(*arguments)

    def lower(self, *arguments: Any) -> Any:
        return self._quick.lower(*arguments)

    @functools.cached_property
    def _part(self) -> Any:
        return self._jit()

    @functools.cached_property  # the backend is known when the function is first called
    def _quick(self) -> Any:
        return self._jit(compiler_options=quick_options(self._level))


def is_traced() -> bool:
    """True while `jax.jit` traces a program, whose parts cannot have compiler options of their own."""
    return isinstance(jax.device_put(0.0), jax.core.Tracer)


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
