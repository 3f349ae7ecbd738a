"""The plots of a sweep: its information plane, and the trajectory of one member."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from vaelab import plotting
from vaelab.plotting import PlaneSeries
from vaelab.runs.measures import Measures
from vaelab.runs.result import Result


def information_plane(sweeps: Mapping[str, Sequence[Measures]]) -> Figure:
    """Rate against distortion of sweeps by name; of data with levels the NLL at the best scale."""
    quantised = all(any(row.nll_per_dim for row in rows) for rows in sweeps.values())
    label = (
        "negative log-likelihood at σ* (nats per dimension)" if quantised else "distortion (nats)"
    )
    series = [plane_series(name, rows, quantised=quantised) for name, rows in sweeps.items()]
    return plotting.information_plane(series, distortion_label=label)


def plane_series(name: str, rows: Sequence[Measures], *, quantised: bool) -> PlaneSeries:
    """The members of one sweep, the seeds of one setting together, settings in the order of the rows."""
    settings: dict[str, list[Measures]] = {}
    for row in rows:
        settings.setdefault(_tag(row), []).append(row)
    seeds = max(map(len, settings.values()))
    points = np.full((2, len(settings), seeds), np.nan)
    for index, group in enumerate(settings.values()):
        for seed, row in enumerate(group):
            distortion = row.nll_per_dim if quantised else row.distortion
            points[:, index, seed] = (distortion or row.distortion).mean, row.rate.mean
    return PlaneSeries(
        label=name,
        distortion=points[0],
        rate=points[1],
        tags=list(settings),
        connect=any(tag.startswith("κ") for tag in settings),
    )


def _tag(row: Measures) -> str:
    symbols = {"kappa": "κ", "beta": "β", "learning_rate": "lr"}
    named = {path.rpartition(".")[2]: value for path, value in row.values.items()}
    return ", ".join(f"{symbols.get(n, n)} {v:g}" for n, v in named.items() if n != "seed")


def trajectory(result: Result, constraint: str) -> Figure:
    """The course of one constrained run in the information plane."""
    bound, shape = result.run.experiment.objective.constraints[constraint], result.run.event_shape
    return plotting.saddle_trajectory(
        result.history.rows,
        kappa=bound.kappa,
        constraint=constraint,
        num_dims=int(np.prod(shape)),
        achieved=lambda average: bound.achieved(average, shape),
        quantity=bound.quantity,
    )
