"""`vaelab evaluate RUN`."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from vaelab.checks import UsageError, check_at_least_one
from vaelab.cli.parsing import HostsCommand, TrainedCommand, if_left_out
from vaelab.evaluation import Amortised, Refined
from vaelab.runs import display
from vaelab.runs.files import write_json
from vaelab.runs.loading import run_of
from vaelab.runs.prior_report import evaluate_prior
from vaelab.runs.reporting import make_report
from vaelab.storage import folder_at, is_remote


@dataclasses.dataclass(frozen=True)
class Evaluate(TrainedCommand, HostsCommand):
    """Evaluates a run, finished or not: its report, and its prior beside the aggregated posterior.

    Writes evaluation.json into the folder of the run, or evaluation-STEM.json for the file STEM.npz.
    """

    data: Annotated[str | None, if_left_out("the run's own test set")] = None
    """Other data: an npy, npz, csv or array_record file, or a folder of images. All of it is evaluated."""
    num_samples: Annotated[int | None, if_left_out("the experiment's")] = None
    """Importance samples per test example."""
    refined: bool = False
    """True draws importance samples from a Gaussian that is fitted to each test example. The bound on log p(x) is tighter, and fewer samples are enough, such as --num-samples 200; the fit takes as long as some hundred samples."""
    num_points: int = 2000
    """Samples of each estimate that compares the prior with the aggregated posterior."""
    annealed_points: int = 20
    """Test examples on which annealed importance sampling is compared. 0 leaves it out."""
    annealed_temperatures: int = 500
    """Temperatures of annealed importance sampling. More temperatures give a tighter bound."""
    data_dir: Annotated[str | None, if_left_out("$VAELAB_DATA, else ~/.cache/vaelab")] = None
    """Folder of the data files."""

    def __post_init__(self) -> None:
        check_at_least_one(
            num_samples=self.num_samples, annealed_temperatures=self.annealed_temperatures
        )
        for name, least in (("num_points", 2), ("annealed_points", 0)):
            value = getattr(self, name)
            # One example, and one sample, have no standard error.
            if value < least or value == 1:
                raise UsageError(f"{name} must be {'0 or ' if least == 0 else ''}at least 2, got {value}.")  # fmt: skip

    def run(self) -> None:
        trained, modules = self.load()
        run = run_of(trained, modules, data_path=self.data, data_dir=self.data_dir)
        print(f"evaluating {trained.name} at step {trained.step}")
        last = int(trained.history.rows[-1]["step"]) if trained.history.rows else trained.step
        proposal = Refined() if self.refined else Amortised()
        report = make_report(run, trained, trained.history, last, self.num_samples, proposal)
        evaluation = evaluate_prior(
            run,
            trained,
            report,
            num_points=self.num_points,
            annealed_points=self.annealed_points,
            annealed_temperatures=self.annealed_temperatures,
        )
        on = "" if self.data is None else f"-{_stem(self.data)}"
        path = folder_at(self.folder) / f"evaluation{on}.json"
        write_json(path, evaluation)
        display.show(report.table(), *evaluation.tables())
        print(f"everything is in {path}")


def _stem(path: str) -> str:
    file = folder_at(path)
    return (file if is_remote(file) else file.resolve()).stem
