"""The command line: an experiment's name, then any of its fields."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import difflib
import importlib
import json
import logging
import os
import pkgutil
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import tyro
from etils import epath

from experiments import configs
from vaelab.checks import UsageError, check_positive
from vaelab.runs.experiment import Experiment
from vaelab.training.loop import NonFiniteLossError

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Arguments:
    """An experiment, and where it finds and leaves its files."""

    experiment: Annotated[Experiment, tyro.conf.arg(name="")]
    workdir: str | None = None
    """folder for everything the run leaves; default runs/<experiment>"""
    data_dir: str | None = None
    """folder of the data files; default $VAELAB_DATA, else ~/.cache/vaelab"""
    pilot: str | None = None
    """folder of an `experiments.calibrate` run, of whose values each κ is then a fraction"""
    pilot_fraction: float = 1.0
    """target, as a fraction of the pilot's error (or of 1 − accuracy); 0.5 halves it"""

    def __post_init__(self) -> None:
        check_positive(pilot_fraction=self.pilot_fraction)


def names() -> list[str]:
    """The experiments there are."""
    return sorted(module.name for module in pkgutil.iter_modules(configs.__path__))


def load(name: str) -> Experiment:
    """The experiment of that name, as its file defines it."""
    if name not in names():
        nearest = difflib.get_close_matches(name, names(), 1, cutoff=0.0)
        fail(f"there is no experiment {name!r}; the nearest name is {nearest[0]!r} (see --help).")
    return importlib.import_module(f"experiments.configs.{name}").experiment


def parse(argv: Sequence[str], *, program: str) -> tuple[str, Arguments]:
    """(name, arguments) of a command line; prints help and exits where it asks for that."""
    if not argv or argv[0] in ("-h", "--help"):
        print(_help(program))
        raise SystemExit(0 if argv else 2)
    name, *overrides = argv
    if name.startswith("-"):
        fail(f"the experiment's name comes first, got {name!r} (see --help).")
    return name, override(name, overrides, program=f"{program} {name}")


def override(name: str, overrides: Sequence[str], *, program: str = "") -> Arguments:
    """The experiment with fields replaced, for example ["--num-steps", "200"]."""
    try:
        return tyro.cli(
            tyro.conf.AvoidSubcommands[Arguments],
            default=Arguments(load(name)),
            args=overrides,
            prog=program,
            description=_docstring(name),
        )
    except ValueError as error:  # of the outermost dataclass: tyro shows the inner ones itself
        fail(str(error))


def with_pilot(
    name: str, arguments: Arguments, overrides: Sequence[str]
) -> tuple[Arguments, list[str]]:
    """κ as fractions of what a pilot reached, and the command line that says so in numbers.

    The run is a function of its configuration: what config.json keeps does not need the pilot.
    """
    if arguments.pilot is None:
        return arguments, list(overrides)
    path = epath.Path(arguments.pilot) / "calibration.json"
    if not path.exists():
        fail(
            f"pilot {arguments.pilot} holds no {path.name}: run experiments.calibrate there first."
        )
    calibration = json.loads(path.read_text())
    if calibration["experiment"] != name:
        fail(f"pilot {arguments.pilot} is one of {calibration['experiment']}, not of {name}.")
    reached = calibration["reached"]
    flags = ["--pilot", "None"]
    for key, constraint in arguments.experiment.objective.constraints.items():
        if key not in reached:
            fail(f"pilot {arguments.pilot} has no constraint {key}: calibrate this experiment.")
        kappa = constraint.kappa_from_pilot(reached[key], arguments.pilot_fraction)
        flags += [f"--objective.constraints.{key}.kappa", f"{kappa:.6g}"]
    resolved = [*overrides, *flags]
    return override(name, resolved), resolved


def parse_known(
    arguments: type[T], argv: Sequence[str], module: str, description: str | None
) -> tuple[T, list[str]]:
    """A command's own arguments, and the rest: fields of an experiment."""
    try:
        return tyro.cli(
            arguments,
            prog=f"python -m {module}",
            description=description,
            args=argv,
            return_unknown_args=True,
        )
    except ValueError as error:
        fail(str(error))


@contextlib.contextmanager
def plain_errors(folder: epath.PathLike, *, interrupted: str) -> Iterator[None]:
    """Ends the program with one sentence where the work inside fails, or is interrupted.

    `folder` is where the work leaves its files, `interrupted` what becomes of them then.
    """
    if os.environ.get("VAELAB_TRACEBACK"):  # for those who change the code
        yield
        return
    speak_plainly()
    try:
        yield
    except NonFiniteLossError as error:
        fail(
            f"{error} The checkpoints in {epath.Path(folder) / 'checkpoints'} are kept; lower "
            "optimiser.learning_rate and use another --workdir."
        )
    except ValueError as error:
        fail(str(error))
    except OSError as error:
        if error.strerror is None:  # a sentence of our own, on a data file
            fail(str(error))
        remedy = "free space or choose another --workdir, and run the same command again."
        if isinstance(error, FileExistsError | NotADirectoryError):
            remedy = "a file is in its place: choose another --workdir."
        fail(f"workdir {folder} cannot be written ({error.strerror}); {remedy}")
    except KeyboardInterrupt:
        print(f"\ninterrupted; {interrupted}.")
        raise SystemExit(130) from None


def experiment(name: str, overrides: Sequence[str]) -> Experiment:
    """The experiment with fields replaced, for commands that know no other of `Arguments`."""
    arguments, known = override(name, overrides), Arguments(load(name))
    for field in ("workdir", "data_dir", "pilot", "pilot_fraction"):
        if getattr(arguments, field) != getattr(known, field):
            raise UsageError(f"{field} = {getattr(arguments, field)} is not known to this command.")
    return arguments.experiment


def speak_plainly() -> None:
    """From now on each warning is one sentence on standard error, and background threads are silent.

    Orbax and TensorBoard write in threads, which print tracebacks by the dozen when a disk is full.
    The main thread learns of the failure where it waits for them, and says it once.
    """
    warnings.simplefilter("always", UserWarning)
    warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)
    for name in ("absl", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    threading.excepthook = lambda _: None
    sys.unraisablehook = lambda _: None  # the same threads, and what they left for the exit


def fail(sentence: str) -> NoReturn:
    """Ends the program with one sentence on standard error."""
    print(f"error: {sentence}", file=sys.stderr)
    raise SystemExit(2)


def _help(program: str) -> str:
    lines = [f"usage: {program} EXPERIMENT [--FIELD VALUE ...]", "", "experiments:"]
    width = max(map(len, names()))
    lines += [f"  {name:<{width}}  {_summary(name)}" for name in names()]
    lines += ["", f"`{program} EXPERIMENT --help` lists the fields of an experiment."]
    return "\n".join(lines)


def _summary(name: str) -> str:
    """The first line of a configuration's docstring; empty where it has none."""
    return _docstring(name).partition("\n")[0]


def _docstring(name: str) -> str:
    """A configuration's docstring, read without importing it."""
    path = Path(next(iter(configs.__path__))) / f"{name}.py"
    return ast.get_docstring(ast.parse(path.read_text())) or ""
