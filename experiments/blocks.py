"""Data, reconstructions and samples of a family's models side by side: Taming VAEs, figures 6 and 9 to 11.

python -m experiments.blocks color_mnist_convdraw --num-steps 4000 --kappas 0.125 0.175 --seed 1
"""

from __future__ import annotations

import dataclasses

import tyro

from experiments.study import Study, family, main
from vaelab import plotting, runs
from vaelab.checks import check_at_least_one
from vaelab.plotting import Block
from vaelab.runs import Result, pictures
from vaelab.runs.constraint_report import outcome
from vaelab.runs.files import write_figure


@dataclasses.dataclass(frozen=True)
class Blocks(Study):
    """Trains every experiment of a family, and shows what each model makes of the same images.

    Leaves blocks.png and the folders of all runs. The same command continues where it was interrupted.
    """

    family: tyro.conf.Positional[str]
    """Family of experiments.taming, such as color_mnist_convdraw."""
    kappas: tuple[float, ...] = (0.06, 0.1, 0.175)
    """Tolerances of the reconstruction error. Each is a model."""
    num_images: int = 8
    """Images in each row."""
    seed: int = 0
    """Seed of each model."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least_one(num_images=self.num_images)
        family(self.family)

    @property
    def title(self) -> str:
        return f"blocks-{self.family}"

    def run(self) -> None:
        blocks, notes = list[Block](), dict[str, None]()
        for key, experiment in family(self.family).items():
            axes: dict[str, tuple[float, ...]] = {"seed": (self.seed,)}
            if set(experiment.objective.constraints) == {"re"}:
                axes = {"objective.constraints.re.kappa": self.kappas} | axes
            results = self.train(key, experiment, runs.grid(axes))
            for result in results:
                drawn, note = block(result, self.num_images)
                blocks.append(drawn)
                notes |= {note: None} if note else {}
        note = " ".join(notes)
        figure = plotting.sample_blocks(blocks, title=self.family, note=note or None)
        write_figure(self.folder / "blocks.png", figure)
        print(f"the plot is {self.folder / 'blocks.png'}")


def block(result: Result, num_images: int) -> tuple[Block, str]:
    """The first test images, their reconstructions, and samples of a model; a note on their values.

    Raises:
      UndefinedError: the data are no images.
    """
    run, model, params = result.run, result.model, result.params
    shown = run.splits.test.take(slice(num_images))
    means = pictures.reconstruct(model, params, shown, run.key("reconstructions"))
    samples = pictures.generate(model, params, shown, run.key("samples"))
    drawn = [pictures.images(run, x) for x in (shown.x, means, samples)]
    return Block(title(result), *(each.images for each in drawn)), max(each.note for each in drawn)


def title(result: Result) -> str:
    """The objective, its constraints, and the reached value of a constraint that is not met."""
    run, parts = result.run, [result.run.experiment.objective_label]
    for name, constraint in run.experiment.objective.constraints.items():
        met = outcome(run, name, result.history, until=result.step).met
        value = constraint.achieved(result.average[name], run.event_shape)
        parts.append(constraint.describe() + ("" if met else f" (reached {value:.3g})"))
    return ", ".join(parts)


if __name__ == "__main__":
    main(Blocks)
