"""The families of experiments: which pairs are joined by paths, and how the paths look to a person."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from experiments import manifold
from vaelab import geometry, plotting
from vaelab.checks import UsageError, classes_of
from vaelab.data import Files, LabelMeaning, MotionCapture, match_pendulum
from vaelab.data.mocap import Body
from vaelab.runs import Experiment, Result, pictures
from vaelab.types import Examples

_FULL_TURN = 2 * np.pi


class Strips(NamedTuple):
    """Decoded paths as a person sees them."""

    figure: Callable[[], Figure]
    frames: Callable[[], np.ndarray]  # of an animation, [T, height, width, 3] uint8


@dataclasses.dataclass(frozen=True)
class Family:
    """Experiments on the same data, which can be shown as images."""

    experiments: Mapping[str, Experiment]  # by their keys in `manifold.TITLES`
    num_seeds: int = 3

    @property
    def label_meaning(self) -> LabelMeaning:
        """What the labels of the data mean."""
        return next(iter(self.experiments.values())).data.label_meaning

    @property
    def label(self) -> str:
        return self.label_meaning.name

    @property
    def names(self) -> Sequence[str]:
        return self.label_meaning.names

    @property
    def period(self) -> float | None:
        return self.label_meaning.period

    def pairs(self, examples: Examples, num_pairs: int, seed: int) -> np.ndarray:
        """Rows of the examples that are joined by paths, [P, 2]. The first pairs are drawn."""
        rng = np.random.default_rng(seed)
        return np.array([rng.choice(len(examples.x), 2, replace=False) for _ in range(num_pairs)])

    def jump_threshold(self, result: Result) -> float | None:
        """`geometry.jump_threshold` of the training frames. None for data without an order in time."""
        del result
        return None

    def further(self, decoded: np.ndarray, labels: np.ndarray | None) -> dict[str, np.ndarray]:
        """Further measures {name: [P]} of decoded paths [P, T, F]; labels [P, 2] are those of their ends."""
        del decoded, labels
        return {}

    def strips(
        self, result: Result, decoded: np.ndarray, jumps: np.ndarray | None, rows: Sequence[str]
    ) -> Strips:
        """Decoded paths [R, T, F], with their jumps [R, T − 1] and a label for each row."""
        shown = pictures.images(result.run, decoded.reshape(-1, *result.run.event_shape))
        images = shown.images.reshape(*decoded.shape[:2], *shown.images.shape[1:])
        return Strips(
            functools.partial(
                plotting.image_strips, images, jumps=jumps, row_labels=rows, note=shown.note or None
            ),
            functools.partial(plotting.animate_images, images, jumps=jumps, row_labels=rows),
        )


@dataclasses.dataclass(frozen=True)
class Motion(Family):
    """Poses of a person. Paths lead from one movement to another one."""

    data: MotionCapture = dataclasses.field(kw_only=True)
    data_dir: str | None = None

    @functools.cached_property
    def body(self) -> Body:
        return self.data.body(self.data_dir)

    def pairs(self, examples: Examples, num_pairs: int, seed: int) -> np.ndarray:
        """All pairs of movements equally often, in random order."""
        labels, rng = classes_of(examples.labels), np.random.default_rng(seed)
        kinds = list(itertools.permutations(np.unique(labels), 2))
        if not kinds:
            raise UsageError(
                "paths join different movements, and the data have one: add clips of another one."
            )
        ordered = itertools.cycle([kinds[index] for index in rng.permutation(len(kinds))])
        return np.array(
            [
                [rng.choice(np.flatnonzero(labels == label)) for label in kind]
                for kind in itertools.islice(ordered, num_pairs)
            ]
        )

    def jump_threshold(self, result: Result) -> float:
        clips = self.data.rows_of_clips(self.data_dir)["train"]
        frames = np.concatenate([result.run.splits.train.x[rows] for rows in clips])
        numbers = np.repeat(np.arange(len(clips)), list(map(len, clips)))
        return geometry.jump_threshold(frames, numbers)

    def strips(
        self, result: Result, decoded: np.ndarray, jumps: np.ndarray | None, rows: Sequence[str]
    ) -> Strips:
        poses = np.asarray(self.body.poses(result.run.splits.in_data_units(decoded)))
        return Strips(
            functools.partial(
                plotting.stick_figures, poses, self.body.bones, jumps=jumps, row_labels=rows
            ),
            functools.partial(
                plotting.animate_stick_figures, poses, self.body.bones, jumps=jumps, row_labels=rows
            ),
        )


@dataclasses.dataclass(frozen=True)
class Angles(Family):
    """Images of a pendulum, whose angle is known."""

    def further(self, decoded: np.ndarray, labels: np.ndarray | None) -> dict[str, np.ndarray]:
        """Distance from a uniform rotation in degrees, in the better direction, and from a pendulum's image."""
        match = match_pendulum(decoded.reshape(-1, decoded.shape[-1]))
        angles = np.asarray(match.angles).reshape(decoded.shape[:2])
        start, end = np.asarray(labels).T[..., None]
        time = np.linspace(0, 1, decoded.shape[1])
        turn = (end - start) % _FULL_TURN
        errors = [
            np.abs(wrapped(angles - start - time * way)).mean(axis=1)
            for way in (turn, turn - _FULL_TURN)
        ]
        return {
            "angle error, °": np.degrees(np.minimum(*errors)),
            "image error": np.asarray(match.errors).reshape(angles.shape).mean(axis=1),
        }


def wrapped(angles: np.ndarray) -> np.ndarray:
    """Angles in [−π, π).

    >>> wrapped(np.array([1.5 * np.pi])) / np.pi
    array([-0.5])
    """
    return (angles + np.pi) % _FULL_TURN - np.pi


def of(name: str, images: str | None = None, data_dir: str | None = None) -> Family:
    """The family of this name. `images`: a folder of images instead of Frey Faces.

    Raises:
      UsageError: images are given for another family than faces.
    """
    if images is not None and name != "faces":
        raise UsageError(f"images belong to the family faces, got the family {name}.")
    rows = manifold.FAMILIES[name]
    if images is not None:
        rows = {key: row.with_fields(data=Files(images)) for key, row in rows.items()}
    if name == "motion":
        data: MotionCapture = next(iter(rows.values())).data  # type: ignore[assignment]
        return Motion(rows, data=data, data_dir=data_dir)
    if name == "pendulum":
        return Angles(rows, num_seeds=8)
    return Family(rows)
