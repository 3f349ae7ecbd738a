"""The folder of a run: which configuration it belongs to, and the files in it."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import subprocess
import time
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
from etils import epath

from vaelab.runs.experiment import Experiment
from vaelab.runs.record import differing_fields, to_dict

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PACKAGES = (
    "vaelab", "jax", "jaxlib", "flax", "optax", "distrax", "chex", "orbax-checkpoint", "numpy",
)  # fmt: skip


class ConfigurationError(ValueError):
    """A workdir and a configuration that do not belong together."""


def claim(workdir: epath.Path, name: str, overrides: Sequence[str], experiment: Experiment) -> None:
    """Makes the workdir this run's: writes config.json, or checks the one that is there."""
    if check_claim(workdir, name, experiment):
        return
    config = {
        "experiment": name,
        "overrides": list(overrides),
        "configuration": to_dict(experiment),
        "versions": {package: metadata.version(package) for package in _PACKAGES}
        | {"python": platform.python_version()},
        "hardware": _hardware(),
        "commit": _commit(),
    }
    workdir.mkdir(parents=True, exist_ok=True)  # after all that may be refused
    write_json(workdir / "config.json", config)


def check_claim(workdir: epath.Path, name: str, experiment: Experiment) -> bool:
    """Whether the workdir is this run's already; another run's is refused, and none is made."""
    if not (workdir / "config.json").exists():
        return False
    check(workdir, name, experiment)
    return True


def _hardware() -> str:
    devices = jax.devices()
    kind = devices[0].device_kind
    return f"{os.cpu_count()} CPU cores" if kind == "cpu" else f"{len(devices)} × {kind}"


def _commit() -> str:
    """The checkout's commit, with a mark where files differ from it; unknown outside a checkout."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        folder = Path(__file__).parent
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return result.stdout.strip()


class Stopwatch:
    """How long a run was trained for, over all its interruptions."""

    def __init__(self, workdir: epath.Path):
        self._path = workdir / "seconds.json"
        self._before = json.loads(self._path.read_text()) if self._path.exists() else 0.0
        self._start = time.monotonic()

    @property
    def seconds(self) -> float:
        """Up to the last `save` of any earlier session, and this session."""
        return self._before + time.monotonic() - self._start

    def save(self) -> None:
        write_json(self._path, self.seconds)


def check(workdir: epath.Path, name: str, experiment: Experiment) -> None:
    """Refuses a workdir that holds a run of another configuration, naming the fields."""
    theirs = read_config(workdir)
    if theirs["experiment"] != name:
        raise ConfigurationError(
            f"workdir {workdir} holds a run of {theirs['experiment']}, not of {name}; choose another "
            "--workdir."
        )
    configuration = json.loads(
        json.dumps(to_dict(experiment))
    )  # as it was written: lists, no tuples
    differences = differing_fields(configuration, theirs["configuration"])
    if differences:
        raise ConfigurationError(
            f"workdir {workdir} holds a run of another configuration, which differs in "
            f"{', '.join(differences)}; choose another --workdir."
        )


def read_config(workdir: epath.Path) -> dict[str, Any]:
    """The config.json of a run."""
    path = workdir / "config.json"
    if not path.exists():
        raise ConfigurationError(
            f"workdir {workdir} holds no run: there is no {path.name} in it; train one there first."
        )
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ConfigurationError(
            f"{path} is damaged ({error}); choose another --workdir, or repair the file."
        ) from error


@contextlib.contextmanager
def writing(path: epath.Path, mode: str = "w") -> Iterator[Any]:
    """A file that appears under its name when it is whole: an interruption leaves the old one."""
    partial = path.with_name(path.name + ".partial")
    with partial.open(mode) as file:
        yield file
    partial.replace(path)


def write_figure(path: epath.Path, figure: Figure) -> None:
    """Writes a whole picture or none."""
    with writing(path, "wb") as file:
        figure.savefig(file, format="png")


def write_json(path: epath.Path, value: Any) -> None:
    """Writes a whole file or none."""
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    with writing(path) as file:
        file.write(text)
