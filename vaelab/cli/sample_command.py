"""`vaelab sample RUN`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from types import ModuleType

import jax
import numpy as np

from vaelab.checks import UsageError, check_at_least_one
from vaelab.cli.parsing import TrainedCommand
from vaelab.data import DataSet, show
from vaelab.data.show import Shown
from vaelab.runs import Trained
from vaelab.runs.experiment import check_kind, check_seed
from vaelab.runs.files import write_figure
from vaelab.runs.rebuild import UnknownPartError, from_record
from vaelab.storage import folder_at, writing


@dataclasses.dataclass(frozen=True)
class Sample(TrainedCommand):
    """Draws samples from a trained model, without its data: an npy file, or a png of images."""

    num_samples: int = 64
    """Number of samples."""
    out: str = "samples.npy"
    """File to write: .npy for the array [N, *event], .png for a plot of images."""
    draw: bool = False
    """True draws x from the likelihood. False takes the likelihood's mean at each z ~ p(z)."""
    seed: int = 0
    """Seed of the samples."""

    def __post_init__(self) -> None:
        check_at_least_one(num_samples=self.num_samples)
        check_seed(self.seed)
        if not self.out.endswith((".npy", ".png")):
            raise UsageError(f"out must end in .npy or .png, got {self.out!r}.")

    def run(self) -> None:
        trained, modules = self.load()
        if trained.model.conditional:
            raise UsageError(
                "this model is conditional: call runs.load(...).sample(key, n, context=...) in Python."
            )
        x = trained.sample(jax.random.key(self.seed), self.num_samples, mean=not self.draw)
        path = folder_at(self.out)
        if self.out.endswith(".npy"):
            with writing(path, "wb") as file:
                np.save(file, x)
        else:
            from vaelab import plotting

            images = _shown(trained, modules, x)
            if images is None:
                raise UsageError(
                    f"samples of shape {x.shape[1:]} are no images: write an .npy file with --out."
                )
            write_figure(path, plotting.samples(images.images, note=images.note))
        print(f"{self.num_samples} samples of shape {x.shape[1:]} are in {path}")


def _shown(trained: Trained, modules: Sequence[ModuleType], x: np.ndarray) -> Shown | None:
    """Samples as the data set of the run shows them; as images if the record cannot rebuild it."""
    assert trained.record is not None  # it was read from a folder
    try:
        source = from_record(trained.record.get("data"), modules, "data")
    except UnknownPartError:
        return show.images(x)
    check_kind("data", source, DataSet)
    return source.show(x)
