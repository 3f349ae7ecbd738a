"""Programs that are compiled quickly."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaelab import one_off
from vaelab.one_off import quick_options

X = jnp.linspace(-1.0, 1.0, 60).reshape(6, 10)


@pytest.mark.parametrize("level", [0, 1])
def test_a_quick_program_computes_what_jit_does(level):
    function = lambda power, x: jnp.tanh(x @ x.T) ** power  # noqa: E731
    quick = one_off.one_off(function, static_argnums=0, level=level)
    np.testing.assert_allclose(quick(3, X), jax.jit(function, static_argnums=0)(3, X), rtol=1e-5)


def test_a_quick_program_becomes_a_part_of_another_and_is_vectorised():
    quick = one_off.one_off(lambda power, x: x**power, static_argnums=0, level=1)
    expected = jax.jit(jax.vmap(lambda x: x**3))(X)
    np.testing.assert_allclose(jax.jit(lambda x: quick(3, x))(X), expected, rtol=1e-6)
    np.testing.assert_allclose(jax.vmap(lambda x: quick(3, x))(X), expected, rtol=1e-6)
    gradients = jax.jit(jax.vmap(jax.grad(lambda x: quick(3, x))))(X[0])
    np.testing.assert_allclose(gradients, 3 * X[0] ** 2, rtol=1e-6)


def test_this_cpu_compiles_quickly_and_unknown_options_are_left_out(monkeypatch):
    if jax.default_backend() != "cpu":
        pytest.skip("the options are those of a CPU")
    assert quick_options(0)["xla_backend_optimization_level"] == 0
    monkeypatch.setitem(one_off._QUICK, "xla_cpu_use_what_is_unknown", True)
    assert quick_options.__wrapped__(0) == {}
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert quick_options.__wrapped__(0) == {}
