"""Nine priors on the digits: `python -m experiments.priors`. 6 minutes on two CPU cores."""

from __future__ import annotations

import dataclasses
import difflib
from typing import NamedTuple

import numpy as np

from experiments.priors import findings, study
from experiments.priors.findings import NAMES, summary
from experiments.priors.study import EXPERIMENTS, Seed, Snapshots
from experiments.study import Study, main
from vaelab import plotting, runs
from vaelab.checks import UsageError, check_at_least_one
from vaelab.plotting import Panel
from vaelab.runs import Result, display
from vaelab.runs.files import read_typed, write_figure, write_json

FILMED = "gtm"  # the prior of training.png


class Measured(NamedTuple):
    """The measures of one prior, as its folder holds them."""

    num_samples: int  # importance samples per test image
    seeds: list[Seed]


@dataclasses.dataclass(frozen=True)
class Priors(Study):
    """Trains and measures all priors on scikit-learn's digits, and draws them beside q(z).

    Leaves results.json, priors.png and training.png. The same command continues where it was interrupted.
    """

    priors: tuple[str, ...] = tuple(EXPERIMENTS)
    """Priors to train."""
    seeds: int = 3
    """Number of seeds of each prior, from 0 upwards, in one program."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least_one(seeds=self.seeds)
        if not self.priors:
            raise UsageError(f"priors must name at least one of {', '.join(EXPERIMENTS)}.")
        for name in self.priors:
            if name not in EXPERIMENTS:
                nearest = difflib.get_close_matches(name, EXPERIMENTS, 1, cutoff=0.0)[0]
                raise UsageError(f"there is no prior {name!r}; the nearest name is {nearest!r}.")

    @property
    def title(self) -> str:
        return "priors"

    def run(self) -> None:
        measured: dict[str, list[Seed]] = {}
        panels, film = [], None
        members = runs.grid({"seed": range(self.seeds)})
        for name in self.priors:
            experiment = EXPERIMENTS[name]
            snapshots = Snapshots(self.folder / "snapshots", experiment)
            hooks = [snapshots] if name == FILMED else []
            results = self.train(name, experiment, members, hooks=hooks)
            measured[name] = self.measure(name, results)
            label = f"{NAMES[name]}\nNLL {summary([seed.nll for seed in measured[name]], 1)} nats"
            panels.append(study.panel(results[0], results[0].params, label)[0])
            if name == FILMED:
                film = frames(results[0], snapshots)
        text = findings.caption(measured)
        write_json(self.folder / "results.json", {"priors": measured, "caption": text})
        title = "Priors, and the aggregated posteriors they were trained with"
        figure = plotting.prior_densities(panels, title=title, caption=text)
        write_figure(self.folder / "priors.png", figure)
        if film is not None:
            write_figure(self.folder / "training.png", draw_film(film))
        display.show(findings.table(measured), text, f"everything is in {self.folder}")

    def measure(self, name: str, results: list[Result]) -> list[Seed]:
        """The measures of a prior's seeds, from its folder if they are there."""
        path = self.folder / name / "priors.json"
        num_samples = results[0].run.experiment.num_samples
        if path.exists():
            before = read_typed(Measured, path)
            steps = [seed.step for seed in before.seeds]
            if before.num_samples == num_samples and steps == [each.step for each in results]:
                return before.seeds
        seeds = [study.measure(result) for result in results]
        write_json(path, Measured(num_samples, seeds))
        return seeds


def frames(result: Result, snapshots: Snapshots) -> list[Panel]:
    """Prior and aggregated posterior of a seed, from the start to its best validation."""
    kept = {0: result.run.initial_params()} | snapshots.read(result.step)
    film = []
    for step, params in (kept | {result.step: result.params}).items():
        frame, marginal_kl = study.panel(result, params, "")
        film.append(frame._replace(title=f"step {step}\nKL {marginal_kl:.2f} nats"))
    return film


def draw_film(film: list[Panel]):
    """The frames at one scale, which holds all codes."""
    points = np.concatenate([np.asarray(frame.points) for frame in film])
    centre, half = (points.max(0) + points.min(0)) / 2, 0.55 * np.ptp(points, axis=0).max()
    (left, bottom), (right, top) = centre - half, centre + half
    return plotting.prior_densities(
        film,
        window=(left, right, bottom, top),
        title=f"Prior ({NAMES[FILMED]}) and aggregated posterior during training",
        caption="KL is KL(q(z) ‖ p) of training images. The encoder spreads its codes to distinguish images, "
        "and a code costs more where the prior is low. The prior moves its mass to the codes.\n"
        "The last panel is at the best validation of this seed.",
    )


if __name__ == "__main__":
    main(Priors)
