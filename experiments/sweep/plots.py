"""The pictures of a sweep: its information plane, and the course of one member."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from etils import epath

from experiments import command_line
from experiments.sweep.measures import Row, read_csv
from experiments.sweep.members import at, member_folder
from vaelab import plotting
from vaelab.plotting import PlaneSeries
from vaelab.runs import workdir
from vaelab.training.metrics import read_metrics


def save(
    folder: epath.Path, *, plane: bool = True, beside: Sequence[str] = (), trajectory: int = 0
) -> None:
    """Writes information_plane.png, and trajectory.png where the experiment has a constraint."""
    if plane:
        workdir.write_figure(folder / "information_plane.png", _plane(folder, beside))
    figure = trajectory_figure(folder, trajectory)
    if figure is not None:
        workdir.write_figure(folder / "trajectory.png", figure)


def _plane(folder: epath.Path, beside: Sequence[str]):
    folders = [folder, *map(epath.Path, beside)]
    tables = [read_csv(place / "sweep.csv") for place in folders]
    quantised = all(any("nll_per_dim" in row for row in rows) for rows in tables)
    column = "nll_per_dim" if quantised else "distortion"
    label = (
        "negative log-likelihood at σ* (nats per dimension)" if quantised else "distortion (nats)"
    )
    names = [workdir.read_config(place)["experiment"] for place in folders]
    lines = [series(name, rows, column) for name, rows in zip(names, tables, strict=True)]
    return plotting.information_plane(lines, distortion_label=label)


def series(name: str, rows: Sequence[Row], column: str) -> PlaneSeries:
    """The rows of one sweep, seeds of one setting together; settings in the order of the rows."""
    settings: dict[str, list[Row]] = {}
    for row in rows:
        settings.setdefault(_tag(row), []).append(row)
    seeds = max(map(len, settings.values()))
    columns = {
        key: np.array(
            [
                [row.get(key, np.nan) for row in group] + [np.nan] * (seeds - len(group))
                for group in settings.values()
            ]
        )
        for key in (column, "rate")
    }
    return PlaneSeries(
        label=name,
        distortion=columns[column],
        rate=columns["rate"],
        tags=list(settings),
        connect=any(tag.startswith("κ") for tag in settings),
    )


def _tag(row: Row) -> str:
    symbols = {"kappa": "κ", "beta": "β", "learning_rate": "lr"}
    return ", ".join(f"{symbol} {row[name]:g}" for name, symbol in symbols.items() if name in row)


def trajectory_figure(folder: epath.Path, index: int):
    """The course of one member with the constraint swept, or its first; None where there is none."""
    config = workdir.read_config(folder)
    experiment = command_line.override(config["experiment"], config["overrides"]).experiment
    if not experiment.objective.constraints:
        return None
    row = read_csv(folder / "sweep.csv")[index]
    values = {"kappa": row["kappa"]} if "kappa" in row else {}
    swept = json.loads((folder / "members.json").read_text())["constraint"]
    name = swept or next(iter(experiment.objective.constraints))
    constraint = at(experiment, values, name).objective.constraints[name]
    shape = experiment.model.decoder.shape
    return plotting.saddle_trajectory(
        read_metrics(member_folder(folder, index)),
        kappa=constraint.kappa,
        constraint=name,
        num_dims=int(np.prod(shape)),
        achieved=lambda average: constraint.achieved(average, shape),
        quantity=constraint.quantity,
    )
