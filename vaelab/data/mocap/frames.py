"""The frames of some clips, cut into parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from etils import epath

from vaelab.checks import UsageError
from vaelab.data.mocap.amc import Clip, read_clip
from vaelab.data.mocap.asf import read_skeleton
from vaelab.data.mocap.skeleton import Skeleton
from vaelab.data.parts import Fractions
from vaelab.untrusted import printable

_SEED = 0  # of the order of the rows


class Part(NamedTuple):
    """Frames in random order, so that the first ones are of all clips."""

    channels: np.ndarray  # [N, C] float64, angles in degrees
    labels: np.ndarray  # [N] int32, movement
    clips: np.ndarray  # [N] int32, number of the clip
    times: np.ndarray  # [N] int32, number of the frame in its clip

    @property
    def rows_of_clips(self) -> tuple[np.ndarray, ...]:
        """For each clip the rows of its frames in the order of time."""
        order = np.lexsort((self.times, self.clips))
        return tuple(np.split(order, np.flatnonzero(np.diff(self.clips[order])) + 1))


class Frames(NamedTuple):
    """A skeleton, and its frames in each part."""

    skeleton: Skeleton
    parts: dict[str, Part]  # train, validation, test


def read_frames(
    skeleton_path: epath.Path,
    paths: Sequence[epath.Path],
    labels: Sequence[int],
    *,
    every: int,
    gap: int,
    fractions: Fractions,
) -> Frames:
    """Every n-th frame of these clips.

    Args:
      labels: the label of each clip.
      gap: number of frames of each clip that are left out before the validation part, and before the test part.

    Raises:
      UsageError: a damaged file, a clip that is too short, or clips of two skeletons.
    """
    skeleton = read_skeleton(skeleton_path)
    clips = [read_clip(path, skeleton) for path in paths]
    _check_one_skeleton(paths, clips)
    found: dict[str, list[Part]] = {"train": [], "validation": [], "test": []}
    for number, (path, clip, label) in enumerate(zip(paths, clips, labels, strict=True)):
        channels = clip.channels[::every]
        for name, rows in _cut(path, len(channels), gap, fractions).items():
            ones = np.ones(len(rows), np.int32)
            part = Part(channels[rows], label * ones, number * ones, rows)
            found[name].append(part)
    parts = {name: _shuffled(pieces) for name, pieces in found.items()}
    return Frames(skeleton, parts)


def _cut(
    path: epath.Path, num_frames: int, gap: int, fractions: Fractions
) -> dict[str, np.ndarray]:
    """The frames of each part of one clip."""
    _, validation_share, test_share = fractions
    test = num_frames - round(test_share * num_frames)
    validation = test - gap - round(validation_share * num_frames)
    if validation - gap < 1 or validation == test - gap or test == num_frames:
        raise UsageError(
            f"{path} has {num_frames} frames, too few for train, validation, test and two gaps of {gap} "
            "frames: give a longer clip, or set gap, every or fractions."
        )
    time = np.arange(num_frames, dtype=np.int32)
    return {
        "train": time[: validation - gap],
        "validation": time[validation : test - gap],
        "test": time[test:],
    }


def _shuffled(pieces: Sequence[Part]) -> Part:
    """The frames of all pieces in random order."""
    order = np.random.default_rng(_SEED).permutation(sum(len(piece.times) for piece in pieces))
    return Part(*(np.concatenate(field)[order] for field in zip(*pieces, strict=True)))


def _check_one_skeleton(paths: Sequence[epath.Path], clips: Sequence[Clip]) -> None:
    """Raises if two clips name different skeletons. Other names of one body, and other bodies of one name, pass."""
    named = [
        (path, clip.skeleton) for path, clip in zip(paths, clips, strict=True) if clip.skeleton
    ]
    for path, skeleton in named:
        if skeleton != named[0][1]:
            raise UsageError(
                f"{path} was recorded with the skeleton {printable(skeleton)}, and {named[0][0]} with "
                f"{printable(named[0][1])}: give "
                "clips of one skeleton, or remove the lines that begin with #!OML:ASF if the skeletons are equal."
            )
