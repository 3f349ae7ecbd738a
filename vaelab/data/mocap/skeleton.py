"""Skeletons of motion capture."""

from __future__ import annotations

from typing import NamedTuple

Point = tuple[float, float, float]


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
