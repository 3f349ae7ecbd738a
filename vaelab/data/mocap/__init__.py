"""Motion capture: skeletons and clips in the files of Acclaim (ASF and AMC), poses, and a data set."""

from vaelab.data.mocap.amc import Clip, read_clip
from vaelab.data.mocap.asf import read_skeleton
from vaelab.data.mocap.body import Body
from vaelab.data.mocap.dataset import MotionCapture, Movement
from vaelab.data.mocap.kinematics import joint_positions
from vaelab.data.mocap.skeleton import Bone, Skeleton

__all__ = [
    "Body",
    "Bone",
    "Clip",
    "MotionCapture",
    "Movement",
    "Skeleton",
    "joint_positions",
    "read_clip",
    "read_skeleton",
]
