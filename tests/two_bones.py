"""A skeleton of two bones and a clip, as texts of ASF and AMC files."""

from __future__ import annotations

ASF = """# A comment.
:version 1.10
:name two
:units
  mass 1.0
  length 0.45
  angle deg
:documentation
   two bones
:root
   order TX TY TZ RX RY RZ
   axis XYZ
   position 0 0 0
   orientation 0 0 0
:bonedata
  begin
     id 1
     name upper
     direction 1 0 0
     length 2
     axis 0 0 0 XYZ
    dof rz
    limits (-160.0 20.0)
  end
  begin
     id 2
     name lower
     direction 4 0 0
     length 1
     axis 0 0 90 XYZ
    dof rx
    limits (-160.0 20.0)
           (-70.0 70.0)
  end
:hierarchy
  begin
    root upper
    upper lower
  end
"""
# The clip names its bones in another order than the skeleton.
AMC = """#!OML:ASF C:\\captured on Monday\\Two.ASF
:FULLY-SPECIFIED
:DEGREES
1
root 0 0 0 0 0 0
lower 0
upper 0
2
root 0 0 0 0 0 0
lower 90
upper 90
3
root 1 2 3 90 0 90
lower 90
upper 90
"""


def long_clip(num_frames: int, lower: float = 1.0) -> str:
    """A clip in which frame t has the angles t and `lower` · t, in degrees."""
    frames = [
        f"{t}\nroot {t} 0 0 0 {t} 0\nupper {t}\nlower {lower * t}\n" for t in range(num_frames)
    ]
    return ":DEGREES\n" + "".join(frames)
