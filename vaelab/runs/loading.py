"""A trained model from its folder. The data set is not needed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from types import ModuleType
from typing import Any, Literal

import jax
import numpy as np
from etils import epath

from vaelab.checks import MissingFileError, UsageError
from vaelab.data import DataSet, Files
from vaelab.models import Model
from vaelab.runs.config import read_config, scaling_of
from vaelab.runs.experiment import Experiment, check_kind
from vaelab.runs.files import damaged
from vaelab.runs.history import History
from vaelab.runs.rebuild import UnknownPartError, from_record
from vaelab.runs.run import Run
from vaelab.runs.trained import Trained, check_params
from vaelab.storage import folder_at
from vaelab.training.checkpoint_reading import read_raw
from vaelab.training.metrics import read_metrics
from vaelab.types import Array, PRNGKey, PyTree
from vaelab.untrusted import one_line, printable, reason_of


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
    if parameters not in ("reported", "newest"):
        raise UsageError(f"parameters must be 'reported' or 'newest', got {parameters!r}.")
    folder = folder_at(folder)
    config = read_config(folder)
    record = config["configuration"]
    if model is None:
        model = from_record(record["model"], modules, "model")
    _check_model(model)
    raw = read_raw(folder / "checkpoints")
    try:
        best, patience = raw["best"], record["patience"]
        if parameters == "reported" and patience is not None and np.isfinite(best["bound"]):
            variables, average, step = best["variables"], best["average"], best["step"]
        else:
            variables, average, step = raw["variables"], raw["opt_state"]["average"], raw["step"]
            if raw["ema"]:
                variables = variables | {"params": raw["ema"]["params"]}
        trained = Trained(
            model=model,
            params=jax.tree.map(np.asarray, variables["params"]),
            multipliers={n: float(v) for n, v in (variables["multipliers"] or {}).items()},
            average={n: float(v) for n, v in (average or {}).items()},
            step=int(step),
            scaling=scaling_of(folder, config),
            name=config["experiment"],
            record=record,
            history=History(read_metrics(folder)).until(int(raw["step"])),
            started_from=config["start"],
            folder=folder,
        )
    except (AttributeError, KeyError, TypeError, IndexError) as error:
        raise damaged(folder / "checkpoints", f"{type(error).__name__}: {error}") from None
    _check_params(trained)
    return trained


def _check_params(trained: Trained) -> None:
    """Raises one sentence if the parameters are not those of the model, which a file describes, too.

    The shape of a conditional model's context is not recorded: its parameters are checked when they are used.
    """
    model = trained.model
    if model.conditional:
        return

    def init(key: PRNGKey, x: Array) -> PyTree:
        return model.init(key, x, key)["params"]

    try:
        x = jax.ShapeDtypeStruct((1, *model.decoder.shape), np.float32)
        like = jax.eval_shape(init, jax.random.key(0), x)
    except Exception as error:  # sizes of a record may be any numbers
        raise damaged(
            epath.Path(trained.folder or "") / "config.json",
            f"its model cannot be made: {reason_of(error)}",
        ) from None
    check_params(f"{trained.folder} has", trained.params, like)


def run_of(
    trained: Trained,
    modules: Sequence[ModuleType | str] = (),
    *,
    data_path: str | None = None,
    data_dir: str | None = None,
) -> Run:
    """The run of a loaded model, with its data, to be evaluated.

    Args:
      trained: what `load` returned.
      modules: modules that define types of your own.
      data_path: a file or folder, all of whose examples take the place of the test set. Its training part
        takes the place of training data that were handed over as arrays, which the record does not hold.
      data_dir: folder of the data files. None takes $VAELAB_DATA, else ~/.cache/vaelab.

    Raises:
      UsageError: a part of the experiment cannot be rebuilt, or the data do not fit.
    """
    assert trained.record is not None  # `load` read it
    record = {name: part for name, part in trained.record.items() if name != "type"}
    fields_of = {field.name for field in dataclasses.fields(Experiment)}
    if unknown := record.keys() - fields_of - {"splits"}:
        raise UsageError(
            f"the record of {printable(trained.name)} has the field {printable(min(unknown))}, which an "
            "experiment does not have: repair config.json."
        )
    handed_over = record.pop("splits", None) is not None
    data_record = record.pop("data", None)
    fields = {name: from_record(part, modules, name) for name, part in record.items()}
    try:
        if handed_over:
            raise UnknownPartError(
                "data were handed over as arrays, and the record has their digest."
            )
        source = from_record(data_record, modules, "data")
        check_kind("data", source, DataSet)
        run = Run.load(_experiment(source, fields), data_dir, name=trained.name)
        if data_path is None:
            return run
        splits = run.splits
    except (UnknownPartError, MissingFileError) as error:
        if data_path is None:
            raise UsageError(f"{error} Name a file with --data.") from None
        source = Files(data_path)
        splits = source.load(data_dir).map(trained.standardise)
    test = trained.standardise(Files(data_path).read(data_dir))
    splits = splits._replace(test=test, scaling=trained.scaling)
    # The training part of a file may be smaller than a batch, which plays no part here.
    experiment = _experiment(source, fields | {"num_test": None})
    batch_size = min(experiment.batch_size, len(splits.train.x))
    experiment = experiment.with_fields(batch_size=batch_size)
    return Run.load(experiment, splits=splits, name=f"{trained.name} on {data_path}")


def _experiment(source: DataSet, fields: dict[str, Any]) -> Experiment:
    """The experiment of these data and of the fields of a record, which may hold any values."""
    try:
        return Experiment(data=source, **fields)
    except UsageError as error:
        raise UsageError(one_line(str(error), 1000)) from None
    except Exception as error:
        reason = one_line(f"{type(error).__name__}: {error}", 200)
        raise UsageError(
            f"the record holds no experiment ({reason}): repair config.json, or choose another folder."
        ) from error


def _check_model(model: Any) -> None:
    """Raises one sentence if a value is no model, or one that cannot be a static argument of `jax.jit`."""
    check_kind("model", model, Model)
    try:
        hash(model)
    except TypeError as error:
        raise UsageError(
            "a field of the model, or of one of its networks, holds a dict, a set or an array: it must hold "
            "numbers, strings, tuples, functions and modules."
        ) from error
