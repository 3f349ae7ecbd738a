"""Pythae and PyTorch, measured in an interpreter of their own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from experiments.benchmark.ours import Rate


def peers(python: str, script: str) -> dict[str, Rate]:
    """Pythae by its own benchmark, and eager PyTorch by ours, in another interpreter."""

    def run(*command: str) -> dict[str, Any]:
        output = subprocess.run([python, *command], capture_output=True, text=True, check=False)
        if output.returncode:
            raise SystemExit(f"error: {python} {command[0]} failed: {output.stderr.strip()[-300:]}")
        return json.loads(output.stdout.strip().splitlines()[-1])

    def pythae(model: str, mode: str) -> Rate:
        options = ("--models", model, "--mode", mode, "--repeats", "3", "--nll_points", "20")
        return lambda: run(script, *options)["median"]

    eager = str(Path(__file__).with_name("eager_torch.py"))
    return {
        "Pythae VAE, bare loop": pythae("VAE", "loop"),
        "Pythae VAMP, bare loop": pythae("VAMP", "loop"),
        "Pythae VAE, get_nll": pythae("VAE", "nll"),
        "PyTorch VAE, eager": lambda: run(eager)["median"],
    }
