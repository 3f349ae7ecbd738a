"""Training steps of other libraries, in an environment of their own."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

from experiments.benchmark.blocks import Clock, Timer
from vaelab.checks import UsageError


def timer(name: str, python: str | None, script: str | None) -> Timer:
    """Seconds for a training step: Pythae by its own benchmark, and eager PyTorch by ours."""
    library, model = name.split()
    command: tuple[str, ...]
    if library == "PyTorch":
        command = (str(Path(__file__).with_name("eager_torch.py")),)
    else:
        kind = model.removesuffix("-500")
        command = (
            str(script),
            "--models",
            kind,
            "--repeats",
            "3",
            "--steps",
            "60",
            "--mode",
            "loop",
        )

    def seconds(clock: Clock) -> float:
        output = subprocess.run(
            [str(python), *command], capture_output=True, text=True, check=False
        )
        if output.returncode:
            raise UsageError(f"{python} {command[0]} failed: {output.stderr.strip()[-300:]}")
        found = json.loads(output.stdout.strip().splitlines()[-1])
        return 1 / found["per_cpu_s" if clock is time.process_time else "median"]

    return seconds
