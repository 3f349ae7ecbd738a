"""A trained model from its folder. The data set is not needed."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Literal

import jax
import numpy as np
from etils import epath

from vaelab.checks import UsageError
from vaelab.models import Model
from vaelab.runs.config import read_config, scaling_of
from vaelab.runs.experiment import Experiment
from vaelab.runs.history import History
from vaelab.runs.rebuild import from_record
from vaelab.runs.trained import Trained
from vaelab.training.checkpoint import read_raw
from vaelab.training.metrics import read_metrics


def load(
    folder: epath.PathLike,
    *,
    parameters: Literal["reported", "newest"] = "reported",
    modules: Sequence[ModuleType | str] = (),
    model: Model | None = None,
) -> Trained:
    """The trained model of a run's folder.

    The model is rebuilt from config.json alone. Types are taken from vaelab and from `modules`; nothing
    else is imported.

    Args:
      folder: workdir of `train`, or a folder of `Result.save`.
      parameters: "reported" takes the best parameters under early stopping, else the newest.
      modules: modules, or their names, that define types of your own.
      model: the model itself, in the place of its record.

    Raises:
      UsageError: the folder holds no run, a file is damaged, or a part of the model cannot be rebuilt.
    """
    folder = epath.Path(folder).expanduser()
    config = read_config(folder)
    record = config["configuration"]
    if model is None:
        model = from_record(record["model"], modules, "model")
    raw = read_raw(folder / "checkpoints")
    best, patience = raw["best"], record["patience"]
    if parameters == "reported" and patience is not None and np.isfinite(best["bound"]):
        variables, average, step = best["variables"], best["average"], best["step"]
    else:
        variables, average, step = raw["variables"], raw["opt_state"]["average"], raw["step"]
        if raw["ema"]:
            variables = variables | {"params": raw["ema"]["params"]}
    if parameters not in ("reported", "newest"):
        raise UsageError(f"parameters must be 'reported' or 'newest', got {parameters!r}.")
    return Trained(
        model=model,
        params=jax.tree.map(np.asarray, variables["params"]),
        multipliers={n: float(v) for n, v in (variables["multipliers"] or {}).items()},
        average={n: float(v) for n, v in (average or {}).items()},
        step=int(step),
        scaling=scaling_of(config),
        name=config["experiment"],
        record=record,
        history=History(read_metrics(folder)).until(int(raw["step"])),
        started_from=config["start"],
        folder=folder,
    )


def experiment_of(folder: epath.PathLike, modules: Sequence[ModuleType | str] = ()) -> Experiment:
    """The experiment of a run's folder, from config.json.

    Raises:
      UsageError: a part cannot be rebuilt, such as data that were handed over as arrays.
    """
    record = read_config(epath.Path(folder).expanduser())["configuration"]
    fields = {name: value for name, value in record.items() if name != "splits"}
    return from_record(fields, modules)
