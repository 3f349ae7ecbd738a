"""Skeletons from ASF files."""

from __future__ import annotations

import math

from etils import epath

from vaelab.checks import UsageError
from vaelab.data.files import naming
from vaelab.data.mocap.skeleton import Bone, Point, Skeleton
from vaelab.data.mocap.text import Line, numbers, read_lines
from vaelab.untrusted import printable

_TRANSLATIONS, _ROTATIONS = ("tx", "ty", "tz"), ("rx", "ry", "rz")
_REPAIR = "repair the file, or name an ASF file"
_MOST_BONES = 1000  # a body has about 30; memory grows with the square of their number


def read_skeleton(path: epath.PathLike) -> Skeleton:
    """The skeleton of an ASF file, also compressed by gzip.

    Raises:
      DamagedFileError: the file is damaged. The sentence names the file and the bone.
    """
    path = epath.Path(path)
    lines = read_lines(path)
    with naming(path):
        return _skeleton(lines)


def _skeleton(lines: list[Line]) -> Skeleton:
    sections = _sections(lines)
    unit = _unit(sections["units"])
    found = [_root(sections["root"], unit)]
    bones: dict[str, Bone] = {}
    for bone in _bones(sections["bonedata"], unit):
        if bone.name in bones or bone.name == found[0].name:
            raise UsageError(f"two bones have the name {printable(bone.name)}: {_REPAIR}.")
        bones[bone.name] = bone
    if len(bones) > _MOST_BONES:
        raise UsageError(
            f"the file has {len(bones)} bones, more than the {_MOST_BONES} that are read: {_REPAIR}."
        )
    children = _children(sections["hierarchy"])
    for number, parent in enumerate(found):  # `found` grows, so parents precede their children
        for name in children.pop(parent.name, ()):
            if name not in bones:
                raise UsageError(
                    f"the hierarchy names {printable(name)}, which is not a bone, or is named twice: {_REPAIR}."
                )
            found.append(bones.pop(name)._replace(parent=number))
    if left := [*bones, *children]:
        raise UsageError(f"bone {printable(left[0])} does not hang from the root: {_REPAIR}.")
    return Skeleton(tuple(found))


def _sections(lines: list[Line]) -> dict[str, list[Line]]:
    """The lines below each name that begins with a colon."""
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
            raise UsageError(f"the file has no section :{name}: {_REPAIR}.")
    return sections


def _unit(lines: list[Line]) -> float:
    """Degrees per unit of angle."""
    units = {line.words[0].lower(): line.words[1:] for line in lines}
    angle = " ".join(units.get("angle", ["nothing"])).lower()
    if angle not in ("deg", "rad"):
        raise UsageError(
            f"the unit of angle must be deg or rad, got {printable(angle)}: {_REPAIR}."
        )
    return 1.0 if angle == "deg" else math.degrees(1.0)


def _root(lines: list[Line], unit: float) -> Bone:
    fields = {line.words[0].lower(): line.words[1:] for line in lines}
    freedom = _freedom("root", fields, "order", _TRANSLATIONS + _ROTATIONS)
    order = _order("root", fields.get("axis", []))
    position = numbers("position of root", fields.get("position", []), 3)
    orientation = numbers("orientation of root", fields.get("orientation", []), 3)
    return Bone("root", -1, _point(position), _axis(order, orientation, unit), order, freedom)


def _bones(lines: list[Line], unit: float) -> list[Bone]:
    found: list[Bone] = []
    fields: dict[str, list[str]] = {}
    for line in lines:
        first, *rest = line.words
        if first.lower() == "begin":
            fields = {}
        elif first.lower() == "end":
            found.append(_bone(line.number, fields, unit))
        else:
            fields[first.lower()] = rest
    return found


def _bone(number: int, fields: dict[str, list[str]], unit: float) -> Bone:
    name = " ".join(fields.get("name", []))
    if not name:
        raise UsageError(f"the bone that ends in line {number} has no name: {_REPAIR}.")
    shown = printable(name)
    direction = numbers(f"direction of bone {shown}", fields.get("direction", []), 3)
    (length,) = numbers(f"length of bone {shown}", fields.get("length", []), 1)
    norm = math.hypot(*direction)
    if norm == 0 or length < 0:
        raise UsageError(
            f"bone {shown} must have a direction and a length that is not negative: {_REPAIR}."
        )
    *angles, letters = fields.get("axis", []) or [""]
    order = _order(shown, [letters])
    return Bone(
        name,
        -1,
        _point([length * part / norm for part in direction]),
        _axis(order, numbers(f"axis of bone {shown}", angles, 3), unit),
        order,
        _freedom(shown, fields, "dof", _ROTATIONS),
    )


def _freedom(
    bone: str, fields: dict[str, list[str]], name: str, known: tuple[str, ...]
) -> tuple[str, ...]:
    found = tuple(word.lower() for word in fields.get(name, []))
    if len(set(found)) < len(found) or not set(found) <= set(known):
        raise UsageError(
            f"{name} of bone {bone} must hold some of {', '.join(known)}, each once, got "
            f"{printable(' '.join(found))}: {_REPAIR}."
        )
    return found


def _order(bone: str, words: list[str]) -> str:
    order = "".join(words).lower()
    if sorted(order) != ["x", "y", "z"]:
        raise UsageError(
            f"axis of bone {bone} must name an order such as XYZ, got {printable(order) or 'nothing'}: {_REPAIR}."
        )
    return order


def _axis(order: str, angles: tuple[float, ...], unit: float) -> Point:
    """Angles about x, y and z, in degrees, from the angles in the order of the file."""
    return _point([unit * angles[order.index(letter)] for letter in "xyz"])


def _point(values: list[float] | tuple[float, ...]) -> Point:
    x, y, z = values
    return x, y, z


def _children(lines: list[Line]) -> dict[str, list[str]]:
    children: dict[str, list[str]] = {}
    for line in lines:
        parent, *names = line.words
        if parent.lower() not in ("begin", "end"):
            children.setdefault(parent, []).extend(names)
    return children
