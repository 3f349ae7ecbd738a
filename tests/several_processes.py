"""What one process of several does in tests/test_processes.py: it trains, sweeps and evaluates.

Arguments: a folder, the number of the process, of the processes and of the coordinator's port.
"""

from __future__ import annotations

import json
import pathlib
import sys

import small

from vaelab import evaluation, processes, runs
from vaelab.checks import UsageError

NUM_STEPS = 50
MEMBERS = runs.grid({"optimiser.learning_rate": [0.02, 0.01], "seed": [0, 1]})


def experiment(**changes):
    """A batch that every number of processes here divides."""
    fields = dict(
        data=small.source(), batch_size=16, num_steps=NUM_STEPS, log_every=1, evaluate_every=25
    )
    return small.constrained(**fields | changes)


def train(folder: pathlib.Path | None, **changes) -> runs.Result:
    return runs.train(experiment(), workdir=folder, progress=False, **changes)


def sweep(folder: pathlib.Path | None) -> list[runs.Result]:
    return runs.train(experiment(), members=MEMBERS, workdir=folder, progress=False)


def measured(result: runs.Result) -> dict:
    """The metrics of every step, and numbers of the test set."""
    report = result.report()
    subject = evaluation.Subject(result.model, result.params, small.TEST)
    kl = evaluation.marginal_kl(subject, result.run.key("marginal"), num_points=20, batch_size=4)
    return {
        "metrics": result.history.rows,
        "numbers": [*report.elbo, report.log_likelihood.mean, *kl],
    }


class Fails(runs.Hook):
    """Fails in the primary process alone, as a full disk does."""

    def on_metrics(self, step, metrics):
        if step == 3 and processes.is_primary():
            raise UsageError("the primary stops here.")


def refusal(call) -> str:
    try:
        call()
    except UsageError as error:
        return str(error)
    return "none"


def main(folder: str, process: str, num_processes: str, port: str) -> None:
    processes.initialize(f"localhost:{port}", int(num_processes), int(process))
    path = pathlib.Path(folder)
    result = train(path / "run")
    members = sweep(path / "sweep")
    train(path / "half", num_steps=25)  # to be continued by one process
    output = {
        "run": measured(result),
        "members": [member.history.rows for member in members],
        "of another experiment": refusal(lambda: train(path / "run", seed=3)),
        "a hook": refusal(lambda: train(None, hooks=[Fails()])),
        "devices": result.state.step.sharding.num_devices,
        "replicated": result.state.step.is_fully_replicated,
    }
    (path / f"{process}.json").write_text(json.dumps(output))


if __name__ == "__main__":
    main(*sys.argv[1:])
