"""Skeletons of motion capture, from ASF files."""

from __future__ import annotations

import math
from typing import NamedTuple

from etils import epath

from vaelab.checks import DamagedFileError
from vaelab.data.mocap.text import Line, numbers, read_lines

Point = tuple[float, float, float]

_TRANSLATIONS, _ROTATIONS = ("tx", "ty", "tz"), ("rx", "ry", "rz")
_REPAIR = "repair the file, or name an ASF file"


class Bone(NamedTuple):
    """A bone, which ends in the joint of the same name and number. The root has no length."""

    name: str
    parent: int  # number of the bone at whose end this bone begins; −1 for the root
    offset: Point  # from its beginning to its end when all angles are 0
    axis: Point  # angles of the coordinates in which the bone turns, in degrees, about x, y and z
    order: str  # order of the turns, such as "xyz": first about x
    freedom: tuple[
        str, ...
    ]  # channels of the bone in the order of the files: "rx"; "tx" for the root


class Skeleton(NamedTuple):
    """Bones in an order in which parents precede their children. Bone 0 is the root."""

    bones: tuple[Bone, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of bones and joints, [J]."""
        return tuple(bone.name for bone in self.bones)

    @property
    def channels(self) -> tuple[tuple[str, str], ...]:
        """Bone and degree of freedom of each channel, [C]."""
        return tuple((bone.name, freedom) for bone in self.bones for freedom in bone.freedom)

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Joints at the beginning and the end of each bone with a length, [J − 1]."""
        return tuple((bone.parent, joint) for joint, bone in enumerate(self.bones) if joint)


def read_skeleton(path: epath.PathLike) -> Skeleton:
    """The skeleton of an ASF file, also compressed by gzip.

    Raises:
      DamagedFileError: the file is damaged. The sentence names the file and the bone.
    """
    path = epath.Path(path)
    sections = _sections(path, read_lines(path))
    unit = _unit(path, sections["units"])
    bones = {bone.name: bone for bone in _bones(path, sections["bonedata"], unit)}
    found = [_root(path, sections["root"], unit)]
    children = _children(path, sections["hierarchy"])
    for number, parent in enumerate(
        found
    ):  # grows while it is read: parents precede their children
        for name in children.pop(parent.name, ()):
            if name not in bones:
                raise DamagedFileError(
                    f"{path}: the hierarchy names {name}, which is not a bone, or is named twice: {_REPAIR}."
                )
            found.append(bones.pop(name)._replace(parent=number))
    if left := [*bones, *children]:
        raise DamagedFileError(f"{path}: bone {left[0]} does not hang from the root: {_REPAIR}.")
    return Skeleton(tuple(found))


def _sections(path: epath.Path, lines: list[Line]) -> dict[str, list[Line]]:
    """The lines below each name that begins with a colon. The word after the name is a line, too."""
    sections: dict[str, list[Line]] = {}
    current: list[Line] = []
    for line in lines:
        first = line.words[0]
        if first.startswith("#"):
            continue
        if first.startswith(":"):
            current = sections.setdefault(first[1:].lower(), [])
        else:
            current.append(line)
    for name in ("units", "root", "bonedata", "hierarchy"):
        if name not in sections:
            raise DamagedFileError(f"{path} has no section :{name}: {_REPAIR}.")
    return sections


def _unit(path: epath.Path, lines: list[Line]) -> float:
    """Degrees per unit of angle."""
    units = {line.words[0].lower(): line.words[1:] for line in lines}
    angle = " ".join(units.get("angle", ["nothing"])).lower()
    if angle not in ("deg", "rad"):
        raise DamagedFileError(
            f"{path}: the unit of angle must be deg or rad, got {angle}: {_REPAIR}."
        )
    return 1.0 if angle == "deg" else math.degrees(1.0)


def _root(path: epath.Path, lines: list[Line], unit: float) -> Bone:
    fields = {line.words[0].lower(): line.words[1:] for line in lines}
    freedom = _freedom(path, "root", fields, "order", _TRANSLATIONS + _ROTATIONS)
    order = _order(path, "root", fields.get("axis", []))
    position = numbers(f"{path}: position of root", fields.get("position", []), 3)
    orientation = numbers(f"{path}: orientation of root", fields.get("orientation", []), 3)
    return Bone("root", -1, _point(position), _axis(order, orientation, unit), order, freedom)


def _bones(path: epath.Path, lines: list[Line], unit: float) -> list[Bone]:
    found: list[Bone] = []
    fields: dict[str, list[str]] = {}
    for line in lines:
        first, *rest = line.words
        if first.lower() == "begin":
            fields = {}
        elif first.lower() == "end":
            found.append(_bone(path, line.number, fields, unit))
        else:
            fields[first.lower()] = rest
    return found


def _bone(path: epath.Path, number: int, fields: dict[str, list[str]], unit: float) -> Bone:
    name = " ".join(fields.get("name", []))
    if not name:
        raise DamagedFileError(
            f"{path}: the bone that ends in line {number} has no name: {_REPAIR}."
        )
    where = f"{path}: {{}} of bone {name}".format
    direction = numbers(where("direction"), fields.get("direction", []), 3)
    (length,) = numbers(where("length"), fields.get("length", []), 1)
    norm = math.hypot(*direction)
    if norm == 0 or length < 0:
        raise DamagedFileError(
            f"{path}: bone {name} must have a direction and a length that is not negative: {_REPAIR}."
        )
    *angles, letters = fields.get("axis", []) or [""]
    order = _order(path, name, [letters])
    return Bone(
        name,
        -1,
        _point([length * part / norm for part in direction]),
        _axis(order, numbers(where("axis"), angles, 3), unit),
        order,
        _freedom(path, name, fields, "dof", _ROTATIONS),
    )


def _freedom(
    path: epath.Path, bone: str, fields: dict[str, list[str]], name: str, known: tuple[str, ...]
) -> tuple[str, ...]:
    found = tuple(word.lower() for word in fields.get(name, []))
    if len(set(found)) < len(found) or not set(found) <= set(known):
        raise DamagedFileError(
            f"{path}: {name} of bone {bone} must hold some of {', '.join(known)}, each once, got "
            f"{' '.join(found)}: {_REPAIR}."
        )
    return found


def _order(path: epath.Path, bone: str, words: list[str]) -> str:
    order = "".join(words).lower()
    if sorted(order) != ["x", "y", "z"]:
        raise DamagedFileError(
            f"{path}: axis of bone {bone} must name an order such as XYZ, got {order or 'nothing'}: {_REPAIR}."
        )
    return order


def _axis(order: str, angles: tuple[float, ...], unit: float) -> Point:
    """Angles about x, y and z, in degrees, from the angles in the order of the file."""
    return _point([unit * angles[order.index(letter)] for letter in "xyz"])


def _point(values: list[float] | tuple[float, ...]) -> Point:
    x, y, z = values
    return x, y, z


def _children(path: epath.Path, lines: list[Line]) -> dict[str, list[str]]:
    children: dict[str, list[str]] = {}
    for line in lines:
        parent, *names = line.words
        if parent.lower() not in ("begin", "end"):
            children.setdefault(parent, []).extend(names)
    return children
