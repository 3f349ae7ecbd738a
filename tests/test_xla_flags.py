"""The compiler flags of the tests."""

from __future__ import annotations

import os

import jax.numpy as jnp
from conftest import OPTIMISED, optimised_jit
from xla_flags import QUICK, known_flags


def test_flags_that_xla_does_not_know_are_left_out():
    assert known_flags(QUICK[0], "--xla_no_such_flag=1") == [QUICK[0]]


def test_every_quick_flag_in_use_is_undone_for_optimised_programs():
    used = [flag for flag in QUICK if flag in os.environ["XLA_FLAGS"].split()]
    assert [flag.split("=")[0].removeprefix("--") for flag in used] == list(OPTIMISED)
    assert float(optimised_jit(jnp.square)(3.0)) == 9.0
