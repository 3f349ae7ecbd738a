"""The folder of a run: which configuration it belongs to, and the files in it."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import jax
from etils import epath

from experiments.experiment import Experiment, differing_fields, to_dict

_PACKAGES = (
    "vaelab", "jax", "jaxlib", "flax", "optax", "distrax", "chex", "orbax-checkpoint", "numpy",
)  # fmt: skip


class ConfigurationError(ValueError):
    """A workdir and a configuration that do not belong together."""


def claim(workdir: epath.Path, name: str, overrides: Sequence[str], experiment: Experiment) -> None:
    """Makes the workdir this run's: writes config.json, or checks the one that is there."""
    path = workdir / "config.json"
    if path.exists():
        check(workdir, name, experiment)
        return
    workdir.mkdir(parents=True, exist_ok=True)
    config = {
        "experiment": name,
        "overrides": list(overrides),
        "configuration": to_dict(experiment),
        "versions": {package: metadata.version(package) for package in _PACKAGES}
        | {"python": platform.python_version()},
        "devices": [device.device_kind for device in jax.devices()],
    }
    write_json(path, config)


def check(workdir: epath.Path, name: str, experiment: Experiment) -> None:
    """Refuses a workdir that holds a run of another configuration, naming the fields."""
    theirs = read_config(workdir)
    configuration = json.loads(
        json.dumps(to_dict(experiment))
    )  # as it was written: lists, no tuples
    differences = differing_fields(configuration, theirs["configuration"])
    if theirs["experiment"] != name:
        differences.insert(0, f"experiment ({theirs['experiment']}, now {name})")
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


def write_json(path: epath.Path, value: Any) -> None:
    """Writes a whole file or none: an interruption leaves the old one."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n")
    partial.replace(path)
