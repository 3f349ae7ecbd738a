"""config.json: what a folder of a run was made with."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np
from etils import epath

from vaelab.checks import UsageError
from vaelab.runs.files import damaged, read_json, write_json
from vaelab.runs.identity import generator, identity, plain
from vaelab.runs.record import differing_fields
from vaelab.runs.run import Run
from vaelab.runs.serial import from_json
from vaelab.types import Scaling

VERSION = 2  # of the files in a workdir
_WRITTEN_ONCE = ("versions", "hardware", "commit")  # they are of the first start
_TYPES: dict[str, Any] = {
    "experiment": str, "configuration": dict, "start": str | None, "prng": str, "versions": dict,
    "hardware": str, "commit": str, "scaling": dict | None, "groups": list,
}  # fmt: skip
_FIELDS: dict[str, Any] = {"model": dict, "num_steps": int, "patience": int | None}
_PACKAGES = (
    "vaelab", "jax", "jaxlib", "flax", "optax", "distrax", "chex", "orbax-checkpoint", "numpy",
)  # fmt: skip


class ConfigurationError(UsageError):
    """A workdir and a configuration that do not belong together."""


def check_config(folder: epath.Path, run: Run, started_from: str | None) -> dict[str, Any] | None:
    """The config.json of the folder if it is this run's. None if there is none yet.

    Raises:
      ConfigurationError: the folder holds another run.
      UsageError: the folder holds a run of another length, and the length cannot change.
    """
    if not (folder / "config.json").exists():
        return None
    config = read_config(folder)
    check_same(f"workdir {folder} holds a run", config, run, started_from)
    if config["configuration"]["num_steps"] != run.experiment.num_steps:
        run.experiment.check_longer()
    return config


def check_same(what: str, kept: dict[str, Any], run: Run, started_from: str | None) -> None:
    """Raises one sentence if what a folder holds, as `described` it, is not of this run.

    Raises:
      ConfigurationError: the fields that differ.
    """
    theirs = identity(kept["configuration"]) | {name: kept[name] for name in ("start", "prng")}
    ours = identity(run.record) | {"start": started_from, "prng": generator()}
    if differences := differing_fields(ours, theirs):
        raise ConfigurationError(
            f"{what} of another configuration, which differs in {', '.join(differences)}: choose another "
            "workdir."
        )


def described(run: Run, source: str | None, started_from: str | None) -> dict[str, Any]:
    """What `check_same` compares, with the version of the files and where the run is from."""
    return {
        "version": VERSION,
        "experiment": run.name,
        "source": source,
        "configuration": run.record,
        "start": started_from,
        "prng": generator(),
    }


def read_kept(path: epath.Path, needed: set[str]) -> dict[str, Any]:
    """A file of these fields and of those of `described`.

    Raises:
      ConfigurationError: it is another version's.
      DamagedFileError: it cannot be read.
    """
    kept = read_json(path)
    if not isinstance(kept, dict):
        raise damaged(path, "it holds no fields")
    if kept.get("version") != VERSION:
        raise ConfigurationError(
            f"{path} was written by another version of vaelab, which this version does not read: use "
            "that version, or train again in another workdir."
        )
    needed = needed | {"experiment", "configuration", "start", "prng"}
    if missing := needed - kept.keys():
        raise damaged(path, f"without {', '.join(sorted(missing))}")
    try:
        for name in needed & _TYPES.keys():
            from_json(_TYPES[name], kept[name])
        for name, kind in _FIELDS.items():
            from_json(kind, kept["configuration"].get(name))
    except TypeError as error:
        raise damaged(path, f"{name}: {error}") from None
    return kept


def write_config(
    folder: epath.Path, run: Run, source: str | None, started_from: str | None
) -> None:
    """Writes config.json, or renews what may change in it: name, length and evaluation."""
    path = folder / "config.json"
    config = described(run, source, started_from) | {
        "scaling": _scaling(run.splits.scaling),
        "versions": {package: metadata.version(package) for package in _PACKAGES}
        | {"python": platform.python_version()},
        "hardware": _hardware(),
        "commit": _commit(),
    }
    if path.exists():
        old = read_json(path)
        config |= {name: old[name] for name in _WRITTEN_ONCE}
        if old == plain(config):
            return
    write_json(path, config)


def read_config(folder: epath.Path) -> dict[str, Any]:
    """The config.json of a run.

    Raises:
      ConfigurationError: there is none, or it is another version's.
      DamagedFileError: it cannot be read.
    """
    path = folder / "config.json"
    if not path.exists():
        if (folder / "sweep.json").exists():
            raise ConfigurationError(
                f"{folder} holds a sweep: name one of its runs, such as {folder / 'members' / '000'}."
            )
        raise ConfigurationError(
            f"{folder} holds no run: there is no {path.name} in it. Train one there first."
        )
    return read_kept(path, {"scaling", *_WRITTEN_ONCE})


def scaling_of(folder: epath.Path, config: dict[str, Any]) -> Scaling | None:
    """The standardisation that the config.json of a folder holds.

    Raises:
      DamagedFileError: its numbers are not finite, or a scale is not positive.
    """
    if (kept := config["scaling"]) is None:
        return None
    try:
        scaling = Scaling(*(np.asarray(kept[name], np.float32) for name in Scaling._fields))
        valid = all(np.isfinite(part).all() for part in scaling) and (scaling.scale > 0).all()
        np.broadcast_shapes(*(part.shape for part in scaling))
    except (KeyError, TypeError, ValueError, OverflowError):
        valid = False
    if not valid:
        raise damaged(folder / "config.json", "scaling holds no finite means and positive scales")
    return scaling


def _scaling(scaling: Scaling | None) -> dict[str, Any] | None:
    if scaling is None:
        return None
    return {name: np.asarray(value).tolist() for name, value in scaling._asdict().items()}


def _hardware() -> str:
    devices = jax.devices()
    kind = devices[0].device_kind
    return f"{os.cpu_count()} CPU cores" if kind == "cpu" else f"{len(devices)} × {kind}"


def _commit() -> str:
    """The checkout's commit, marked if files differ from it. Outside a checkout the version."""
    folder = Path(__file__).parent
    tracked = ["git", "ls-files", "--error-unmatch", Path(__file__).name]
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        subprocess.run(tracked, cwd=folder, capture_output=True, check=True)
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return f"vaelab {metadata.version('vaelab')}"
    return result.stdout.strip()
