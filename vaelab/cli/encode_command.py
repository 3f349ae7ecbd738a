"""`vaelab encode RUN DATA`."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import jax
import numpy as np
import tyro

from vaelab.checks import UndefinedError, UsageError
from vaelab.cli.parsing import TrainedCommand
from vaelab.data import Files
from vaelab.runs.experiment import check_seed
from vaelab.storage import folder_at, writing


@dataclasses.dataclass(frozen=True)
class Encode(TrainedCommand):
    """Encodes data with a trained model: one code for each example, in the order of the file."""

    data: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")]
    """Data: an npy, npz, csv or array_record file, or a folder of images."""
    out: str = "codes.npz"
    """File to write: .npy for the codes of a model with one level, .npz for all levels, z0, z1, ..."""
    sampled: bool = False
    """True draws a code from q(z|x). False takes the mean of q(z|x), which most hierarchies do not have."""
    seed: int = 0
    """Seed of the draws."""

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if not self.out.endswith((".npy", ".npz")):
            raise UsageError(f"out must end in .npy or .npz, got {self.out!r}.")

    def run(self) -> None:
        trained, _ = self.load()
        examples = Files(self.data).read()
        key = jax.random.key(self.seed) if self.sampled else None
        try:
            codes = trained.encode(examples.x, key=key, context=examples.context)
        except UndefinedError:
            raise UsageError(
                "q(z|x) of this model has no mean in closed form: add --sampled for one sample of it."
            ) from None
        levels = codes if isinstance(codes, tuple) else (codes,)
        if self.out.endswith(".npy") and len(levels) > 1:
            raise UsageError(f"the model has {len(levels)} levels: write an .npz file with --out.")
        path = folder_at(self.out)
        with writing(path, "wb") as file:
            if self.out.endswith(".npy"):
                np.save(file, levels[0])
            else:
                arrays: dict[str, Any] = {f"z{level}": z for level, z in enumerate(levels)}
                np.savez(file, **arrays)
        shapes = ", ".join(str(z.shape) for z in levels)
        print(f"codes of shape {shapes} are in {path}")
