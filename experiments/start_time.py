"""Time from the start of a process to its report: how much of it is compilation, and in how many programs.

python -m experiments.start_time digits_vae_elbo color_mnist_convdraw_re
python -m experiments.start_time all --once
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from typing import Annotated, Any

import jax
import numpy as np
import tyro
from etils import epath
from rich.table import Table

from experiments.study import main, of_length
from vaelab import runs
from vaelab.checks import MissingFileError, UsageError
from vaelab.cli import lookup, parsing
from vaelab.runs import Experiment, display
from vaelab.runs.files import write_json
from vaelab.types import Examples, Splits

_STEPS, _EXAMPLES = 20, 200
_ALL = "all"
_COMPILED = "/jax/core/compile/backend_compile_duration"
_EVENTS = (
    "/jax/core/compile/jaxpr_trace_duration",
    "/jax/core/compile/jaxpr_to_mlir_module_duration",
    _COMPILED,
)
_CHILD = "import sys; from experiments.start_time import report; report(sys.argv[1])"


@dataclasses.dataclass(frozen=True)
class StartTime(parsing.Command):
    """Trains experiments for 20 steps, each in a process of its own, up to the report and its plots.

    Every process starts with an empty cache of programs, and then once more with the programs of the
    first start. Data that are missing are replaced by noise of the same shape. Leaves start_time.json.
    """

    names: tyro.conf.Positional[
        Annotated[tuple[str, ...], parsing.if_left_out("all experiments")]
    ] = ()
    """Names of experiments. `all` means all of them."""
    programs: int = 3
    """Number of programs to list, the slowest first, with their CPU seconds."""
    once: bool = False
    """True leaves the second start out."""
    workdir: str = "runs/start_time"
    """Folder of the results."""

    def run(self) -> None:
        folder = epath.Path(self.workdir).expanduser()
        names = tuple(lookup.find_all()) if self.names in ((), (_ALL,)) else self.names
        for name in names:
            lookup.find(name)
        again = () if self.once else ("second start, s",)
        columns = ("programs", "compile, s", "its CPU, s", "total, s", *again, "slowest programs")
        table = Table("experiment", *columns)
        starts: dict[str, Any] = {}
        for name in names:
            starts[name] = _starts(name, 1 if self.once else 2)
            first = starts[name][0]
            if "refused" in first:
                print(f"{name} is left out: {first['refused']}", file=sys.stderr)
                del starts[name]
                continue
            numbers = [first[key] for key in ("num_programs", "compile", "compile_cpu", "total")]
            seconds = [f"{each['compile']:.1f} of {each['total']:.1f}" for each in starts[name][1:]]
            slowest = ", ".join(
                f"{program['name']} {program['cpu_seconds']:.1f}"
                for program in first["programs"][: self.programs]
            )
            row = (*(f"{value:.3g}" for value in numbers), *seconds, slowest)
            table.add_row(name, *row)
            print(f"{name}: {', '.join(row)}", file=sys.stderr)
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / "start_time.json", starts)
        display.show(table, f"everything is in {folder}")


def _starts(name: str, number: int) -> list[dict[str, Any]]:
    """What each of several processes measures, one after the other with one cache of programs."""
    with tempfile.TemporaryDirectory() as cache:
        return [start(name, cache) for _ in range(number)]


def start(name: str, cache: str) -> dict[str, Any]:
    """What one process measures of itself."""
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": cache,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
        "MPLBACKEND": "agg",
    }
    command = [sys.executable, "-c", _CHILD, name]
    begin = time.time()
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    if ended.returncode:
        raise RuntimeError(ended.stderr)
    measured = json.loads(ended.stdout.splitlines()[-1])
    return measured | {"total": time.time() - begin, "stderr": ended.stderr}


class Programs:
    """The programs that JAX compiles in this process, and the time that it takes.

    Several threads may compile at the same time. That time counts once.
    """

    def __init__(self) -> None:
        self.programs: list[dict[str, Any]] = []
        self.seconds, self.cpu_seconds = 0.0, 0.0  # of tracing, lowering and compiling
        self._begun: dict[int, list[tuple[float, float]]] = {}  # by thread
        self._first, self._lock = (0.0, 0.0), threading.Lock()
        jax.monitoring.register_scalar_listener(self._begin)
        jax.monitoring.register_event_time_span_listener(self._end)

    def _begin(self, event: str, value: float, **details: str | int) -> None:
        if event not in _EVENTS:
            return
        now = time.time(), time.process_time()
        with self._lock:
            if not any(self._begun.values()):
                self._first = now
            self._begun.setdefault(threading.get_ident(), []).append(now)

    def _end(self, event: str, start_time: float, end_time: float, **details: str | int) -> None:
        if event not in _EVENTS:
            return
        wall, cpu = time.time(), time.process_time()
        with self._lock:
            begun = self._begun[threading.get_ident()].pop()
            if not any(self._begun.values()):  # a function may be traced while another one is
                self.seconds += wall - self._first[0]
                self.cpu_seconds += cpu - self._first[1]
        if event == _COMPILED:
            seconds, cpu_seconds = wall - begun[0], cpu - begun[1]
            name = details["fun_name"]
            self.programs.append({"name": name, "seconds": seconds, "cpu_seconds": cpu_seconds})


def report(name: str) -> None:
    """Trains an experiment for a few steps, makes report and plots, and prints the times as JSON."""
    programs = Programs()
    try:
        experiment = short(lookup.find(name).experiment)
        splits = small(experiment)
        with tempfile.TemporaryDirectory() as folder:
            runs.train(experiment, splits=splits, workdir=folder, name=name, progress=False)
    except UsageError as error:
        print(json.dumps({"refused": str(error)}))
        return
    measured = {
        "num_programs": len(programs.programs),
        "compile": programs.seconds,
        "compile_cpu": programs.cpu_seconds,
        "cpu": time.process_time(),
        "programs": sorted(programs.programs, key=lambda program: -program["cpu_seconds"]),
    }
    print(json.dumps(measured))


def short(experiment: Experiment) -> Experiment:
    """The experiment with few steps and few samples, whose programs are otherwise the same."""
    return of_length(experiment, _STEPS).with_fields(
        log_every=7, evaluate_every=11, num_samples=50, num_test=20
    )


def small(experiment: Experiment) -> Splits:
    """The data with few examples of validation and test; noise where the files are missing."""
    try:
        splits = experiment.data.load()
    except MissingFileError:
        splits = noise(experiment)
    few = slice(_EXAMPLES)
    return splits._replace(
        validation=splits.validation.take(few), test=splits.test.take(few), conversions=()
    )


def noise(experiment: Experiment, num_examples: int = 2000) -> Splits:
    """Images in [0, 1] of the shape of the model's data, with classes."""
    rng = np.random.default_rng(0)
    shape = (num_examples, *experiment.model.decoder.event_shape)
    x = rng.integers(0, 256, shape) / np.float32(255)
    examples = Examples(x.astype(np.float32), rng.integers(0, 10, num_examples, dtype=np.int32))
    return Splits(examples, examples, examples)


if __name__ == "__main__":
    main(StartTime)
