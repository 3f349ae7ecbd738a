"""What each level of a hierarchy holds, of models side by side: `python -m experiments.hierarchy`.

  python -m experiments.hierarchy mnist_vlae mnist_stacked --num-steps 20000
  python -m experiments.hierarchy mnist_vlae mnist_stacked --part validation     # to choose settings
  python -m experiments.hierarchy runs/mine my_experiments.py:other              # a trained run beside an experiment

Of each level: KL and active units, the accuracy of a probe of its code (two layers of 256 units), and how
often the label changes if the level is resampled. Of each model: traversals, and Gibbs chains through its
bottom level alone and through all levels. Zhao et al., 2017, Learning hierarchical features from generative
models. Published probe accuracies on MNIST, bottom to top: VLAE 35.7, 57.9, 52.1 %; with a joint
energy-based prior 32.6, 58.3, 67.6 %.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Literal, NamedTuple, TypeVar

import tyro
from rich.table import Table

from experiments.hierarchy import plots
from experiments.hierarchy.measures import (
    LevelMeasures,
    ModelMeasures,
    Settings,
    measure,
)
from experiments.study import Study, main
from vaelab import runs
from vaelab.checks import UndefinedError, UsageError, check_at_least_one, classes_of
from vaelab.cli import lookup, parsing
from vaelab.evaluation import ChainLabels, Estimate
from vaelab.runs import Experiment, Trained, display
from vaelab.runs.files import read_typed, write_figure, write_json
from vaelab.runs.identity import digest_of
from vaelab.runs.loading import run_of
from vaelab.runs.run import Run
from vaelab.storage import folder_at

Key = TypeVar("Key")

_FILE = "levels.json"
_TOO_UNCLEAR = 0.2  # share of the data


@dataclasses.dataclass(frozen=True)
class Hierarchy(Study):
    """Trains experiments on the same data, and measures what each of their levels holds.

    Leaves comparison.json, comparison.png, and in a folder for each model levels.json, traversals.png,
    gibbs_bottom.png and gibbs_all.png. The same command continues an interrupted training, and measures a
    model only once.
    """

    experiments: tyro.conf.Positional[tuple[str, ...]] = ("mnist_vlae", "mnist_stacked")
    """Experiments on the same data, which have classes: names, FILE.py:NAME, or folders of trained runs, which are not trained again."""
    modules: tuple[str, ...] = ()
    """Modules or files with types of your own, which a trained run uses."""
    part: Literal["test", "validation"] = "test"
    """Part of the data on which everything is measured. Choose settings on the validation part."""
    num_train: Annotated[int | None, parsing.if_left_out("all")] = None
    """Training examples of the probes."""
    num_samples: int = 16
    """Posterior samples per example."""
    num_chains: int = 1000
    """Gibbs chains of each kind."""
    chain_steps: tuple[int, ...] = (1, 2, 5, 10, 20, 50, 100)
    """Steps of a chain after which its images are labelled, increasing."""
    classifier: Annotated[
        str | None, parsing.if_left_out("the shipped one for MNIST, else a probe of the pixels")
    ] = None
    """File of a frozen network that labels images."""
    seed: int = 0
    """Seed of each model."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least_one(
            num_train=self.num_train, num_samples=self.num_samples, num_chains=self.num_chains
        )
        for step in self.chain_steps:
            check_at_least_one(chain_steps=step)
        if not self.experiments or not self.chain_steps:
            raise UsageError(
                "experiments and chain_steps must not be empty: name at least one of each."
            )
        if list(self.chain_steps) != sorted(set(self.chain_steps)):
            raise UsageError(f"chain_steps must be increasing, got {self.chain_steps}.")

    @property
    def title(self) -> str:
        return "hierarchy"

    @property
    def settings(self) -> Settings:
        return Settings(**{name: getattr(self, name) for name in Settings._fields})

    def run(self) -> None:
        candidates = [self._find(name) for name in self.experiments]
        experiments = {each.name: each.experiment for each in candidates}
        if len(experiments) < len(candidates):
            names = ", ".join(each.name for each in candidates)
            raise UsageError(f"experiments must have different names, got {names}.")
        check_comparable(experiments)
        first = next(iter(experiments.values()))
        classes_of(first.data.load(self.data_dir).train.labels)  # before the training
        models = []
        for each in candidates:
            run, trained = each.loaded or self._trained(each)
            models.append(self.measure(each.name, run, trained))
        write_json(self.folder / "comparison.json", models)
        write_figure(self.folder / "comparison.png", plots.comparison(models))
        display.show(
            levels_table(models), chains_table(models), *map(sentence, models),
            f"everything is in {self.folder}",
        )  # fmt: skip

    def _find(self, name: str) -> Candidate:
        folder = folder_at(name)
        if not folder.is_dir():
            found = lookup.find(name)
            return Candidate(found.name, found.experiment, None)
        modules = lookup.import_modules(self.modules)
        trained = runs.load(folder, modules=modules)
        run = run_of(trained, modules, data_dir=self.data_dir)
        return Candidate(folder.name, run.experiment, (run, trained))

    def _trained(self, candidate: Candidate) -> tuple[Run, Trained]:
        (result,) = self.train(
            candidate.name, candidate.experiment, runs.grid({"seed": (self.seed,)})
        )
        return result.run, result

    def measure(self, name: str, run: Run, trained: Trained) -> ModelMeasures:
        """The measures of a model, from its folder if they are there. Draws its plots."""
        folder = self.folder / name
        if (folder / _FILE).exists():
            before = read_typed(ModelMeasures, folder / _FILE)
            # Another run may have been measured under this name.
            if before.settings == self.settings and before.params == digest_of(trained.params):
                return before
        measures, chains = measure(name, run, trained, self.settings)
        folder.mkdir(parents=True, exist_ok=True)  # a trained run has another folder
        try:
            write_figure(folder / "traversals.png", plots.traversals(measures, run, trained))
            for title, figure in plots.chains(measures, chains, run).items():
                write_figure(folder / f"{title}.png", figure)
        except UndefinedError as reason:
            display.say([str(reason)])
        write_json(folder / _FILE, measures)  # last: it says that the plots are there
        return measures


class Candidate(NamedTuple):
    """A model to measure."""

    name: str
    experiment: Experiment
    loaded: tuple[Run, Trained] | None  # of a folder; None if the experiment is to be trained


def check_comparable(experiments: dict[str, Experiment]) -> None:
    """Raises one sentence if experiments are on different data."""
    (first, one), *others = experiments.items()
    for name, other in others:
        if other.data != one.data:
            raise UsageError(
                f"{first} and {name} have different data: choose experiments on the same data."
            )


# The lines of a level in the table.
QUANTITIES: dict[str, Callable[[LevelMeasures], str]] = {
    "active units": lambda level: f"{level.active_units} of {level.dim}",
    "KL, nats": lambda level: display.with_error(*level.rate),
    "probe accuracy, %": lambda level: percent(level.probe.accuracy),
    "probe of a sample, %": lambda level: percent(level.sampled.accuracy),
    "label flips, %": lambda level: percent(level.alone.flip_rate),
    "change": lambda level: display.with_error(*level.alone.change, digits=4),
    "flips with lower levels, %": lambda level: percent(level.with_lower.flip_rate),
}


def levels_table(models: Sequence[ModelMeasures]) -> Table:
    """A line for each quantity and level, bottom level first, and a column for each model."""
    cells = [{level.name: level for level in reversed(model.levels)} for model in models]
    names = _in_order(cells)
    rows = []
    for quantity, show in QUANTITIES.items():
        for index, name in enumerate(names):
            numbers = [show(each[name]) if name in each else "" for each in cells]
            rows.append(["" if index else quantity, name, *numbers])
    return display.table(
        f"Levels, on the {models[0].settings.part} part",
        ["", "level", *(model.experiment for model in models)],
        rows,
        "Probe: classifier of the level's code. Flips: labels that change if the level is resampled from its prior. Change: "
        "mean |x' − x''| if the level alone is resampled.",
    )


def chains_table(models: Sequence[ModelMeasures]) -> Table:
    """A line for each choice of levels and start, and a column for each model: the last step's labels."""
    cells = [
        {(chain.carrier, chain.start): chain.labels for chain in model.chains} for model in models
    ]
    rows = []
    for kind in _in_order(cells):
        found = [each.get(kind) for each in cells]
        rows.append([*kind, *("" if labels is None else _last(labels) for labels in found)])
    firsts = [model.chains[0].labels for model in models]
    rows.append(
        ["samples of the model", "", *(_distance(labels.distance_of_model) for labels in firsts)]
    )
    rows.append(["N labels drawn from the data", "", *(f"{labels.floor:.3f}" for labels in firsts)])
    rows.append(
        ["unclear images: data, samples of the model", "", *(unclear(each) for each in models)]
    )
    return display.table(
        f"Gibbs chains: total variation of the labels after {firsts[0].steps[-1]:,} steps from those of the data",
        ["levels that carry x", "start", *(model.experiment for model in models)],
        rows,
        "In parentheses: total variation from the labels of the model's own samples. N: number of chains.",
    )


def unclear(model: ModelMeasures) -> str:
    """The shares of images that the classifier gives to no class, in percent."""
    return ", ".join(f"{100 * share:.0f} %" for share in model.unclear)


def _last(labels: ChainLabels) -> str:
    return f"{_distance(labels.total_variation[-1])} ({labels.distance_to_model[-1].mean:.3f})"


def _in_order(cells: Sequence[Mapping[Key, object]]) -> list[Key]:
    """The keys of all models, in the order of the model with the most."""
    longest_first = sorted(cells, key=lambda each: -len(each))
    return list(dict.fromkeys(key for each in longest_first for key in each))


def _distance(estimate: Estimate) -> str:
    return display.with_error(*estimate, digits=3)


def percent(estimate: Estimate) -> str:
    """A share in percent, with its standard error.

    >>> percent(Estimate(0.676, 0.005))
    '67.6 ± 0.5'
    """
    return display.with_error(100 * estimate.mean, 100 * estimate.standard_error, digits=1)


def sentence(model: ModelMeasures) -> str:
    """What a reader needs to know beside the tables."""
    codes = ", ".join(dict.fromkeys(level.probe.code for level in model.levels))
    order = ""
    if len(model.levels) > 1:
        order = f"Probe accuracies {model.order} from bottom to top. "
    doubt = ""
    if model.unclear[0] > _TOO_UNCLEAR:
        doubt = (
            f" It is unsure of {100 * model.unclear[0]:.0f} % of the data, so the label flips and the Gibbs chains say "
            "little: train a classifier, and name it with --classifier."
        )
    return (
        f"{model.experiment}: ELBO {display.with_error(*model.elbo)} nats after {model.step:,} steps, "
        f"{model.num_parameters:,} parameters. {order}Codes: {codes}. "
        f"Images are labelled by {model.classifier}, accuracy {100 * model.classifier_accuracy:.1f} %.{doubt}"
    )


if __name__ == "__main__":
    main(Hierarchy)
