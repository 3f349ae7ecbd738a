"""Clips of motion capture, from AMC files."""

from __future__ import annotations

import math
import pathlib
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from etils import epath

from vaelab.checks import UsageError
from vaelab.data.files import naming
from vaelab.data.mocap.skeleton import Skeleton
from vaelab.data.mocap.text import Line, numbers, read_lines
from vaelab.untrusted import printable

_HEADER = "#!OML:ASF"


class Clip(NamedTuple):
    """The frames of one clip."""

    channels: np.ndarray  # [T, C] float64 in the order of `Skeleton.channels`, angles in degrees
    skeleton: str  # name of the skeleton's file, as the clip states it; empty if it does not


def read_clip(path: epath.PathLike, skeleton: Skeleton) -> Clip:
    """The clip of an AMC file, also compressed by gzip. Angles become degrees.

    Raises:
      DamagedFileError: the file is damaged, or belongs to another skeleton. The sentence names the file, the
        line, the frame and the bone.
    """
    path = epath.Path(path)
    lines = read_lines(path)
    with naming(path):
        return _clip(lines, skeleton)


def _clip(lines: list[Line], skeleton: Skeleton) -> Clip:
    freedoms = {bone.name: bone.freedom for bone in skeleton.bones if bone.freedom}
    channels = np.array([_values(first, frame, freedoms) for first, frame in _frames(lines)])
    angles = [freedom.startswith("r") for _, freedom in skeleton.channels]
    return Clip(channels * np.where(angles, _unit(lines), 1.0), _named(lines))


def _frames(lines: list[Line]) -> list[tuple[Line, list[Line]]]:
    """Of each frame the line with its number, and the lines of its bones."""
    found: list[tuple[Line, list[Line]]] = []
    for line in lines:
        first = line.words[0]
        if len(line.words) == 1 and re.fullmatch("[0-9]{1,9}", first):
            if found and int(first) != int(before := found[-1][0].words[0]) + 1:
                raise UsageError(
                    f"line {line.number}: frame {first} follows frame {before}: make a clip of "
                    "each part without missing frames."
                )
            found.append((line, []))
        elif found:
            found[-1][1].append(line)
        elif not first.startswith(("#", ":")):
            raise UsageError(
                f"line {line.number} must be the number of a frame, got {printable(first)}: name an AMC file."
            )
    if not found:
        raise UsageError("the file holds no frames: name an AMC file.")
    return found


def _values(first: Line, lines: list[Line], freedoms: dict[str, tuple[str, ...]]) -> list[float]:
    """The channels of one frame, [C], whose number stands in the line `first`."""
    frame = f"frame {first.words[0]}"
    found: dict[str, Sequence[float]] = {}
    for number, (name, *words) in lines:
        where = f"line {number}, {frame}: bone {printable(name)}"
        if name not in freedoms:
            raise UsageError(
                f"{where} is not a bone with channels of the skeleton: name the ASF file of this clip."
            )
        if name in found:
            raise UsageError(f"{where} occurs twice: repair the file.")
        if len(words) != len(freedoms[name]):
            raise UsageError(
                f"{where} has {len(words)} channels, and the skeleton gives it {len(freedoms[name])} "
                f"({' '.join(freedoms[name])}): repair the file, or name the ASF file of this clip."
            )
        found[name] = numbers(where, words, len(words))
    if len(found) < len(freedoms):
        missing = next(name for name in freedoms if name not in found)
        raise UsageError(
            f"line {first.number}, {frame}: bone {missing} is missing: repair the file."
        )
    return [value for name in freedoms for value in found[name]]


def _unit(lines: list[Line]) -> float:
    """Degrees per unit of angle."""
    for _, (first, *_) in lines:
        if first.upper() in (":DEGREES", ":RADIANS"):
            return 1.0 if first.upper() == ":DEGREES" else math.degrees(1.0)
    raise UsageError(
        "the file does not state its unit of angle: add a line :DEGREES or :RADIANS before the first frame."
    )


def _named(lines: list[Line]) -> str:
    """The name of the skeleton's file in the first comment, without folders, in lower case."""
    for _, words in lines:
        if words[0].upper() == _HEADER:
            return pathlib.PureWindowsPath(" ".join(words[1:])).name.lower()
    return ""
