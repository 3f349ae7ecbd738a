"""Motion capture as a data set: joint angles of the frames of some clips."""

from __future__ import annotations

import dataclasses
import functools
import math
import os
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from etils import epath

from vaelab.checks import (
    MissingFileError,
    UndefinedError,
    UsageError,
    check_at_least_one,
    check_not_negative,
    check_positive,
)
from vaelab.data.content import content_digest
from vaelab.data.dataset import DataSet, LabelMeaning
from vaelab.data.files import data_directory, reading
from vaelab.data.mocap import figures
from vaelab.data.mocap.body import Body
from vaelab.data.mocap.frames import Frames, read_frames
from vaelab.data.parts import Fractions, check_cut
from vaelab.data.show import Shown
from vaelab.data.standardised import scaling_of
from vaelab.types import Examples, Splits


class Movement(NamedTuple):
    """A movement, which is one label."""

    name: str
    clips: tuple[str, ...]  # AMC files


SHIPPED = epath.Path(Path(__file__).parent)  # beside this file: subject_02
_SKELETON = "subject_02/02.asf.gz"
_MOVEMENTS = (
    Movement("walk", ("subject_02/02_01.amc.gz", "subject_02/02_02.amc.gz")),
    Movement("run", ("subject_02/02_03.amc.gz",)),
    Movement("balance", ("subject_02/02_04.amc.gz",)),
    Movement("punch", ("subject_02/02_05.amc.gz",)),
    Movement("wash", ("subject_02/02_10.amc.gz",)),
)


@dataclasses.dataclass(frozen=True)
class MotionCapture(DataSet):
    """Joint angles of the frames of motion capture clips, standardised: x [N, D], and movements as labels.

    The default is subject 02 of CMU's database, with 50 angles: it ships with vaelab, and
    `vaelab/data/mocap/subject_02/TERMS.md` states its terms. Coordinates are the angles that vary in the
    training part, in degrees before they are standardised: `Splits.scaling`. Position and orientation of
    the root are left out.

    Each clip is cut in time. By default its last 20 % are test frames, and 10 % before them are validation
    frames. A gap before each of these parts is left out, because frames that follow each other are alike. The
    rows of a part are in random order: `rows_of_clips` finds the frames that follow each other. Examples
    have no groups, so that `training.Balanced` draws all movements equally often.

    Paths are looked up among the shipped files, in the current folder, and in the data directory.

    Raises:
      MissingFileError: there is no such file.
      UsageError: a file that is damaged, a folder, or does not belong to the skeleton; the sentence names it.
      UsageError: a clip that is named twice.
    """

    skeleton: str = _SKELETON
    """ASF file with the skeleton of all clips."""
    clips: tuple[Movement, ...] = _MOVEMENTS
    """Movements with their clips: `Movement`s, pairs, or a mapping from names to paths. Labels are numbered in this order."""
    every: int = 1
    """Only every n-th frame is taken. 4 leaves 30 frames per second."""
    frames_per_second: float = 120.0
    """Number of frames per second in the files."""
    gap: float = 0.25
    """Length of the gaps, in seconds."""
    fractions: Fractions = (0.7, 0.1, 0.2)
    """Shares of train, validation and test in each clip. Training loses the gaps."""
    sha256: tuple[str, ...] | None = None
    """Expected digests of the skeleton and of all clips, which `pinned` sets. None accepts any content."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "clips", _movements(self.clips))
        object.__setattr__(self, "skeleton", os.fspath(self.skeleton))
        check_at_least_one(every=self.every)
        check_positive(frames_per_second=self.frames_per_second)
        check_not_negative(gap=self.gap)
        check_cut(self.fractions, seed=0)
        num_files = 1 + sum(len(movement.clips) for movement in self.clips)
        if self.sha256 is not None and len(self.sha256) != num_files:
            raise UsageError(
                f"sha256 must hold {num_files} digests, of the skeleton and of each clip, got "
                f"{len(self.sha256)}: set it to None."
            )

    @property
    def movements(self) -> tuple[str, ...]:
        """Names of the labels."""
        return tuple(movement.name for movement in self.clips)

    @property
    def label_meaning(self) -> LabelMeaning:
        return LabelMeaning("movement", self.movements)

    def describe(self) -> str:
        share = f"{self.fractions[2]:.0%}"
        return (
            f"{self.title} ({', '.join(self.movements)}), tested on the last {share} of each clip"
        )

    def pinned(self, data_dir: str | None = None) -> MotionCapture:
        digests = tuple(content_digest(path) for path in self._paths(data_dir))
        return dataclasses.replace(self, sha256=digests)

    def load(self, data_dir: str | None = None) -> Splits:
        frames = self._read(data_dir)
        body = Body.of(frames.skeleton, frames.parts["train"].channels)
        events = {
            name: part.channels[:, body.varying].astype(np.float32)
            for name, part in frames.parts.items()
        }
        scaling = scaling_of(events["train"])
        examples = {
            name: Examples(scaling.apply(events[name]), part.labels)
            for name, part in frames.parts.items()
        }
        return Splits(**examples, scaling=scaling)

    def body(self, data_dir: str | None = None) -> Body:
        """The skeleton, and poses of events in degrees: `Splits.in_data_units`."""
        frames = self._read(data_dir)
        return Body.of(frames.skeleton, frames.parts["train"].channels)

    def rows_of_clips(self, data_dir: str | None = None) -> dict[str, tuple[np.ndarray, ...]]:
        """For each part and clip, the rows of its frames in the order of time.

        With `rows = data_set.rows_of_clips()["train"]`, the frames `splits.train.x[rows[0]]` follow each other.
        """
        return {name: part.rows_of_clips for name, part in self._read(data_dir).parts.items()}

    def show(self, x: npt.ArrayLike) -> Shown:
        """Stick figures, in one view and with one scale.

        Raises:
          UndefinedError: the files of the skeleton or of a clip are missing.
        """
        try:
            body = self.body()
        except MissingFileError as error:
            raise UndefinedError(f"stick figures need the data's files, and {error}") from error
        poses = np.asarray(body.poses(jnp.asarray(x)))
        return Shown(figures.draw(poses, body.bones, body.reach))

    def _read(self, data_dir: str | None) -> Frames:
        paths = tuple(self._paths(data_dir))
        labels = tuple(label for label, each in enumerate(self.clips) for _ in each.clips)
        gap = math.ceil(self.gap * self.frames_per_second / self.every)
        versions = tuple((path.stat().mtime, path.stat().length) for path in paths)
        return _read_once(paths, versions, labels, self.every, gap, tuple(self.fractions))

    def _paths(self, data_dir: str | None) -> list[epath.Path]:
        """The skeleton, and the clips in order."""
        clips = [clip for movement in self.clips for clip in movement.clips]
        paths = [
            _find(self.skeleton, data_dir, "an ASF file"),
            *(_find(clip, data_dir, "AMC files") for clip in clips),
        ]
        for path, digest in zip(paths, self.sha256 or (), strict=False):
            if (found := content_digest(path)) != digest:
                raise UsageError(
                    f"{path} has changed: its SHA-256 is {found[:12]}..., and sha256 is {digest[:12]}...: "
                    "restore the content, or set sha256 to None."
                )
        return paths


@functools.lru_cache(maxsize=2)
def _read_once(
    paths: tuple[epath.Path, ...], versions: object, labels: tuple[int, ...], every: int, gap: int,
    fractions: Fractions,
) -> Frames:  # fmt: skip
    """The frames, read anew if a file has changed: reading text is slow, and poses need the frames again."""
    del versions
    skeleton, *clips = paths
    return read_frames(skeleton, clips, labels, every=every, gap=gap, fractions=fractions)


def _find(name: str, data_dir: str | None, files: str) -> epath.Path:
    """The path of a file. `files`: what it is, for the sentence about a folder."""
    given = epath.Path(name).expanduser()
    folders = []
    for path in (SHIPPED / given, given, data_directory(data_dir) / given):
        with reading(path, "correct the path"):
            if path.is_dir():
                folders.append(path)
            elif path.is_file():  # a device or a pipe may have no end
                return path
    if folders:
        raise UsageError(f"{folders[0]} is a folder: name {files}.")
    raise MissingFileError(
        f"{name} was not found, neither from the current folder nor in {data_directory(data_dir)}: correct "
        "the path, or name another folder with --data-dir or $VAELAB_DATA."
    )


def _movements(clips: Any) -> tuple[Movement, ...]:
    """Movements from pairs of a name and paths, or from a mapping."""
    try:
        movements = tuple(
            Movement(
                str(name),
                tuple(map(os.fspath, [paths] if isinstance(paths, str | os.PathLike) else paths)),
            )
            for name, paths in dict(clips).items()
        )
    except (TypeError, ValueError):
        movements = ()
    if not movements or len(movements) < len(clips) or not all(m.clips for m in movements):
        raise UsageError(
            "clips must hold one path or more for each movement, and each movement once, such as "
            f'{{"walk": ("walk.amc",)}}, got {clips!r}.'
        )
    names = [clip for movement in movements for clip in movement.clips]
    if len(set(names)) < len(names):
        twice = next(name for index, name in enumerate(names) if name in names[:index])
        raise UsageError(f"clips must name each file once, got {twice} twice: remove one of them.")
    return movements
