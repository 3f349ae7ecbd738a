"""`vaelab train NAME`."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from vaelab import runs
from vaelab.checks import check_positive
from vaelab.cli.calibrate_command import with_pilot
from vaelab.cli.lookup import import_modules
from vaelab.cli.parsing import ExperimentCommand, end_if_interrupted, if_left_out
from vaelab.runs import display
from vaelab.storage import folder_at


@dataclasses.dataclass(frozen=True)
class Train(ExperimentCommand):
    """Trains an experiment in a workdir, evaluates it, and draws its plots.

    The same command continues where it was interrupted. A larger --num-steps continues a finished run.
    """

    workdir: Annotated[str | None, if_left_out("runs/NAME")] = None
    """Folder of the run."""
    start_from: Annotated[str | None, if_left_out("fresh parameters")] = None
    """Folder of another run, whose parameters are the start of this run."""
    modules: tuple[str, ...] = ()
    """Modules or files with types of your own, which `start_from` uses."""
    pilot: Annotated[str | None, if_left_out("no pilot")] = None
    """Folder of a `vaelab calibrate` run. Each κ becomes `pilot_fraction` of the value reached there."""
    pilot_fraction: float = 1.0
    """Target, as a fraction of the pilot's error (or of 1 − accuracy). 0.5 halves it."""

    def __post_init__(self) -> None:
        check_positive(pilot_fraction=self.pilot_fraction)

    def run(self) -> None:
        workdir = folder_at(self.workdir or f"runs/{self.name}")
        result = runs.train(
            with_pilot(self.experiment, self.pilot, self.pilot_fraction),
            workdir=workdir,
            start=self.start_from,
            modules=import_modules(self.modules),
            name=self.name,
            source=self.source,
            data_dir=self.data_dir,
            mesh=self.mesh,
            streaming=self.streaming,
        )
        end_if_interrupted([result])
        display.show(result.report().table(), f"everything is in {workdir}")
