"""Trains an experiment: `python -m experiments.train EXPERIMENT [--FIELD VALUE ...]`.

The same command goes on from the newest checkpoint where there is one.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence

from etils import epath

from experiments import command_line
from vaelab.runs import display, workdir
from vaelab.runs import pictures as plots
from vaelab.runs.report import likelihood_report
from vaelab.runs.run import Run
from vaelab.training.metrics import read_metrics


def main(argv: Sequence[str]) -> None:
    name, arguments = command_line.parse(argv, program="python -m experiments.train")
    arguments, overrides = command_line.with_pilot(name, arguments, argv[1:])
    folder = epath.Path(arguments.workdir or f"runs/{name}")
    interrupted = f"the same command goes on from {folder / 'checkpoints'}, if there is one yet"
    with command_line.plain_errors(folder, interrupted=interrupted):
        train(name, arguments, overrides, folder)


def train(
    name: str, arguments: command_line.Arguments, overrides: Sequence[str], folder: epath.Path
) -> None:
    """Trains, evaluates and draws a run, from wherever it was."""
    run = Run.load(arguments.experiment, arguments.data_dir)
    report_path = folder / "report.json"
    if report_path.exists():
        workdir.check(folder, name, arguments.experiment)
        print(f"{folder} holds this run, finished; delete {report_path.name} to evaluate it again")
        display.print_report(json.loads(report_path.read_text()))
        return
    start = time.monotonic()
    state = run.train(folder, name, overrides)
    print(f"trained to step {int(state.step)} in {time.monotonic() - start:.0f} s")
    report = {"experiment": name} | likelihood_report(
        run, state, arguments.experiment.num_samples, read_metrics(folder)
    )
    workdir.write_json(report_path, report)  # it says that the run is finished
    plots.save(run, state, folder)  # last: no picture may cost the numbers
    display.print_report(report)
    print(f"everything is in {folder}")


if __name__ == "__main__":
    main(sys.argv[1:])
