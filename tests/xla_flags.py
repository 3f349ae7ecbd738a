"""Compiler flags of the tests, as far as the installed XLA knows them."""

from __future__ import annotations

import os
import subprocess
import sys

QUICK = (
    "--xla_backend_optimization_level=0",
    "--xla_cpu_use_fusion_emitters=false",
    "--xla_cpu_parallel_codegen_split_count=1",
)


def known_flags(*flags: str) -> list[str]:
    """The flags that XLA knows. An unknown flag ends a process, so another process tries them."""

    def starts(*flags: str) -> bool:
        environment = os.environ | {"XLA_FLAGS": " ".join(flags), "JAX_PLATFORMS": "cpu"}
        command = [sys.executable, "-c", "import jax; jax.devices()"]
        return subprocess.run(command, env=environment, capture_output=True).returncode == 0

    return list(flags) if starts(*flags) else [flag for flag in flags if starts(flag)]


def quick_flags() -> str:
    """The value of XLA_FLAGS for quick compilation. Workers of pytest-xdist inherit it."""
    given = os.environ.get("XLA_FLAGS", "")
    if "PYTEST_XDIST_WORKER" in os.environ:
        return given
    return " ".join([*known_flags(*QUICK), given])
