"""All priors on one toy: `python -m experiments.priors [--priors NAME ...] [--seeds N]`.

scikit-learn's digits in grey, two latent dimensions, small MLPs and a categorical likelihood over 17
values: the set-up of Tomczak's post on learned priors, with every prior of this library. Leaves a
table, results.json, priors.png, training.png and inner_samples.png. A prior that is finished is kept
in a file of its own, and the same command goes on after it. 6 minutes on two CPU cores.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import time
from collections.abc import Sequence

import numpy as np
import tyro
from etils import epath
from rich.console import Console

from experiments import command_line
from experiments.priors import findings, measures, study
from experiments.priors.findings import NAMES, Arrays, Report, summary
from experiments.priors.study import PRIORS, Setup
from vaelab.checks import UsageError
from vaelab.runs import workdir
from vaelab.runs.record import to_dict

# Priors that are also trained with updates of the prior once in so many steps, the model's between.
ALTERNATING, PERIOD = ("mixture", "vamp"), 5


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Trains and measures all priors on the digits, and draws them; the same command resumes."""

    priors: tuple[str, ...] = tuple(PRIORS)
    """which ones"""
    setup: tyro.conf.OmitArgPrefixes[Setup] = dataclasses.field(default_factory=Setup)
    """what they share"""
    workdir: str = "runs/priors"
    """folder for everything"""

    def __post_init__(self) -> None:
        if not self.priors:
            raise UsageError(f"priors must name at least one of {', '.join(PRIORS)}.")
        for name in self.priors:
            if name not in PRIORS:
                nearest = difflib.get_close_matches(name, PRIORS, 1, cutoff=0.0)[0]
                raise UsageError(f"there is no prior {name!r}; the nearest name is {nearest!r}.")


def main(argv: Sequence[str]) -> None:
    try:
        arguments = tyro.cli(Arguments, prog="python -m experiments.priors", args=argv)
    except ValueError as error:
        command_line.fail(str(error))
    interrupted = "the same command goes on after the priors that are finished"
    with command_line.plain_errors(arguments.workdir, interrupted=interrupted):
        run(arguments)


def run(arguments: Arguments) -> None:
    """Everything, from training to pictures."""
    folder, start = epath.Path(arguments.workdir), time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    runs = [(name, 1) for name in arguments.priors]
    runs += [(name, PERIOD) for name in arguments.priors if name in ALTERNATING]
    reports, arrays = {}, {}
    for number, (name, period) in enumerate(runs, 1):
        label = NAMES[name] if period == 1 else f"{NAMES[name]}, updated every {period} steps"
        print(f"{label} ({number} of {len(runs)})", flush=True)
        reports[name, period], arrays[name, period] = _cached(folder, name, period, arguments.setup)
    joint = {name: reports[name, 1] for name in arguments.priors}
    alternating = {name: reports[name, p] for name, p in reports if p > 1}
    text = findings.caption(joint)
    results = {
        "setup": dataclasses.asdict(arguments.setup),
        "priors": joint,
        "alternating": {"period": PERIOD, "priors": alternating},
        "seconds": time.monotonic() - start,
        "caption": text,
    }
    workdir.write_json(folder / "results.json", results)
    for name, figure in findings.plots(
        joint, {name: arrays[name, 1] for name in joint}, text
    ).items():
        workdir.write_figure(folder / f"{name}.png", figure)
    console = Console()
    for table in findings.tables(joint, alternating, PERIOD):
        console.print(table)
    console.print(text, highlight=False)
    print(f"everything is in {folder}")


def _cached(folder: epath.Path, name: str, period: int, setup: Setup) -> tuple[Report, Arrays]:
    """The finished runs of one prior: read from the workdir, or made and written there, whole."""
    model = study.build_model(name, setup.hidden)
    filmed = name == findings.FILMED and period == 1
    configuration = json.dumps(
        {"model": to_dict(model), "prior_period": period, "setup": dataclasses.asdict(setup)}
        | {"version": measures.VERSION}
        | ({"filmed": True} if filmed else {})
    )
    path = folder / (f"{name}.npz" if period == 1 else f"{name}_every_{period}.npz")
    if path.exists():
        with path.open("rb") as file, np.load(file) as stored:
            if str(stored["configuration"]) == configuration:
                print(f"  finished before, in {path}")
                return json.loads(str(stored["report"])), dict(stored)
    start = time.monotonic()
    splits = study.load()
    trained = study.train(model, setup, splits, prior_period=period)
    seconds = time.monotonic() - start
    report: Report = measures.likelihood(trained, setup, splits)
    arrays = {}
    if period == 1:
        report |= measures.terms(trained, splits)
        final = trained.history[-1]
        arrays = measures.picture(model, final[1], splits)
        if filmed:
            last = len(trained.history) - 1
            for i, index in enumerate(_film(last)):
                step, params = trained.history[index]
                frame = measures.picture(model, params, splits)
                arrays |= {f"{key}_{i}": value for key, value in frame.items()}
                arrays[f"step_{i}"] = np.int64(step)
        if name == "standard":
            report["reference"] = measures.reference(trained, splits)
        if name == "hierarchical":
            report["inner_samples"] = measures.rate_by_inner_samples(trained, splits)
    report |= {"training_seconds": seconds, "seconds": time.monotonic() - start}
    with workdir.writing(path, "wb") as file:
        np.savez_compressed(file, configuration=configuration, report=json.dumps(report), **arrays)
    print(f"  NLL {summary(report['nll'])} in {report['seconds']:.0f} s", flush=True)
    return report, arrays


def _film(last: int) -> list[int]:
    """Five of the indices 0 … last, closer at the beginning, where most happens.

    >>> _film(20)
    [0, 1, 4, 9, 20]
    """
    times = np.round(np.geomspace(1, last + 1, 5)).astype(int) - 1
    return sorted(set(times.tolist()))
