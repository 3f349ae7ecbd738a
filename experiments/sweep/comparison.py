"""GECO against the ELBO at equal reconstruction error, seed by seed: figure 5 and table 2 of Taming VAEs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from etils import epath
from scipy import stats

from experiments.sweep.measures import Row
from experiments.sweep.members import member_folder
from vaelab import plotting
from vaelab.checks import UsageError
from vaelab.runs import workdir
from vaelab.training.metrics import read_metrics


def compare(
    folder: epath.Path,
    reference: epath.Path,
    ours: Sequence[Row],
    theirs: Sequence[Row],
    names: tuple[str, str],
    labels: tuple[str, str],
    num_dims: int,
) -> dict[str, Any]:
    """Writes comparison.json and the pictures; `theirs` are the reference's rows of the same seeds.

    `names` are the experiments', `labels` what the pictures call them.

    Differences are ours − theirs, with the 95 % t interval over the seeds, whatever their sign. λ is
    compared with 1/(2σ²β), the reference's weight of the squared error, with which both have the same
    optimum at equal distortion.
    """
    pairs = {"rate": "rate, nats", "rmse": "RMSE per dimension"}
    if all("marginal_kl" in row for row in (*ours, *theirs)):
        pairs["marginal_kl"] = "marginal KL, nats"
    result: dict[str, Any] = {
        "experiment": names[0], "against": names[1], "seeds": [int(row["seed"]) for row in ours],
        "steps": [int(rows[0]["step"]) for rows in (ours, theirs)],
    }  # fmt: skip
    seeds = [f"seed {int(row['seed'])}" for row in ours]
    for key, quantity in pairs.items():
        first, second = ([row[key] for row in rows] for rows in (ours, theirs))
        result[key] = paired(first, second)
        figure = plotting.paired_differences(labels[::-1], second, first, seeds, quantity)
        workdir.write_figure(folder / f"paired_{key}.png", figure)
    result["error_over_kappa"] = paired(
        [row["re_train"] / row["re_kappa"] for row in ours], np.ones(len(ours))
    )
    if all("squared_error_weight" in row for row in theirs):
        result["multiplier"] = paired(
            [row["re_multiplier"] for row in ours], [row["squared_error_weight"] for row in theirs]
        )
    result["outcomes"] = [row["re_outcome"] for row in ours]
    # To first order, what the rate would be at the reference's error: dR/dE = −λ.
    moved = [
        mine["rate"] + mine["re_multiplier"] * num_dims * (mine["mse"] - their["mse"])
        for mine, their in zip(ours, theirs, strict=True)
    ]
    result["rate_at_equal_error"] = paired(moved, [row["rate"] for row in theirs])
    curves = {
        name: [read_metrics(member_folder(place, index)) for index in range(len(rows))]
        for name, place, rows in ((labels[0], folder, ours), (labels[1], reference, theirs))
    }
    figure = plotting.equal_distortion(
        curves,
        dims=num_dims,
        target=float(np.mean([row["re_kappa"] for row in ours])),
        error=lambda row: float(np.sqrt(row["mse"])),
        error_label="RMSE per dimension",
    )
    workdir.write_figure(folder / "equal_distortion.png", figure)
    workdir.write_json(folder / "comparison.json", result)
    return result


def paired(first: npt.ArrayLike, second: npt.ArrayLike) -> dict[str, Any]:
    """Both means, and the mean difference with its 95 % interval: a t test of the finite pairs.

    >>> result = paired([3.0, 5.0, 4.5], [1.0, 2.0, 2.0])
    >>> result["difference"], [round(bound, 2) for bound in result["interval"]]
    (2.5, [1.26, 3.74])
    """
    pairs = np.stack([np.asarray(first, float), np.asarray(second, float)])
    kept = np.isfinite(pairs).all(axis=0)
    if not kept.any():
        raise UsageError("every pair has a member that diverged: lower the learning rate.")
    ours, theirs = pairs[:, kept]
    difference = ours - theirs
    interval: list[float | None] = [None, None]
    if len(difference) > 1:
        half = stats.t.ppf(0.975, len(difference) - 1) * stats.sem(difference)
        interval = [float(difference.mean() - half), float(difference.mean() + half)]
    return {
        "ours": float(np.mean(ours)),
        "theirs": float(np.mean(theirs)),
        "difference": float(difference.mean()),
        "interval": interval,
        "left_out": int(np.sum(~kept)),
    }


def describe(result: dict[str, Any]) -> str:
    """The comparison in a line for each quantity, and whether the errors are equal at all."""
    lines, met = [], [outcome.startswith("met") for outcome in result["outcomes"]]
    over = result["error_over_kappa"]["difference"]
    lines.append(f"error in training: {100 * over:+.2g} % from κ, the error of {result['against']}")
    if not all(met):
        lines.append(
            f"κ is met by {sum(met)} of {len(met)} seeds: the errors are not equal, and the rates do not "
            "compare; train longer"
        )
    for key in ("rate", "rate_at_equal_error", "rmse", "marginal_kl", "multiplier"):
        if key == "rate_at_equal_error" and not all(met):
            continue
        if key in result:
            value = result[key]
            low, high = value["interval"]
            interval = "one seed" if low is None else f"95 % interval {low:+.4g} to {high:+.4g}"
            lines.append(
                f"{key}: {value['ours']:.4g} against {value['theirs']:.4g}, difference "
                f"{value['difference']:+.4g} ({interval})"
            )
    return "\n".join(lines)
