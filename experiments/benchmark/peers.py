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
    if library == "PyTorch":
        command = [str(Path(__file__).with_name("torch_steps.py")), "eager", "60"]
    else:
        settings = {"models": model.removesuffix("-500"), "repeats": 3, "steps": 60, "mode": "loop"}
        options = (word for key, value in settings.items() for word in (f"--{key}", str(value)))
        command = [str(script), *options]

    def seconds(clock: Clock) -> float:
        output = subprocess.run(
            [str(python), *command], capture_output=True, text=True, check=False
        )
        if output.returncode:
            raise UsageError(f"{python} {command[0]} failed: {output.stderr.strip()[-300:]}")
        found = json.loads(output.stdout.strip().splitlines()[-1])
        if library == "PyTorch":
            if "skipped" in found:
                raise UsageError(f"{python} {command[0]} measured nothing: {found['skipped']}.")
            return found["cpu_seconds" if clock is time.process_time else "seconds"]
        return 1 / found["per_cpu_s" if clock is time.process_time else "median"]

    return seconds
