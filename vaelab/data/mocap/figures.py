"""Drawings of stick figures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_FINE = 4  # lines are drawn larger by this factor, and reduced, so that their edges are grey
_TURN = np.deg2rad(
    35.0
)  # of the figure about the vertical axis, so that steps and punches are seen


def draw(
    poses: np.ndarray, bones: Sequence[tuple[int, int]], reach: float, *, size: int = 96
) -> np.ndarray:
    """Black stick figures on white, [N, J, 3] -> [N, size, size, 1] in [0, 1].

    The figures are seen from the front and their right side, in parallel projection, with y upwards. All
    have the same scale: a joint at the distance `reach` from joint 0 is at the border.
    """
    from PIL import Image, ImageDraw

    large = _FINE * size
    x, y, z = np.moveaxis(np.asarray(poses) - np.asarray(poses)[:, :1], -1, 0)
    across = x * np.cos(_TURN) + z * np.sin(_TURN)
    width = max(1, round(large / 45))
    room = large / 2 - width
    plane = large / 2 + room / reach * np.stack([across, -y], axis=-1)
    images = []
    for joints in plane:
        image = Image.new("L", (large, large), 255)
        drawing = ImageDraw.Draw(image)
        for begin, end in bones:
            drawing.line([*joints[begin], *joints[end]], fill=0, width=width)
        images.append(np.asarray(image.resize((size, size), Image.Resampling.BOX)))
    return np.stack(images)[..., None].astype(np.float32) / 255
