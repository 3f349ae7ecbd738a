"""Paths as curves: resampled at equal spacing, and how smooth their decodings are."""

from __future__ import annotations

from typing import Any

import numpy as np

from vaelab.checks import UsageError, check_axes, check_equal, check_positive
from vaelab.geometry.neighbours import finite


def straight_line(start: Any, end: Any, num_points: int) -> np.ndarray:
    """Points at equal spacing on the straight line, both ends included. [D], [D] -> [T, D] float64.

    Raises:
      UsageError: start or end is not [D] or not finite, or their dimensions differ; num_points is below 2.

    >>> straight_line([0.0, 0.0], [2.0, 4.0], 3)
    array([[0., 0.],
           [1., 2.],
           [2., 4.]])
    """
    for name, point in (("start", start), ("end", end)):
        check_axes(name, point, "[D]")
    check_equal(shape_of_start=np.shape(start), shape_of_end=np.shape(end))
    return resample(np.stack([start, end]), num_points)


def resample(path: Any, num_points: int) -> np.ndarray:
    """T points at equal arc length along the polyline, both ends included. [L, D] -> [T, D] float64.

    Between two points of the path the curve is straight. A path without length gives T equal points. The new polyline
    cuts corners, so it is at most as long as the old one.

    Raises:
      UsageError: the path is None, not [L, D], or not finite; num_points is below 2.

    >>> resample([[0.0, 0.0], [1.0, 0.0], [1.0, 3.0]], 5)
    array([[0., 0.],
           [1., 0.],
           [1., 1.],
           [1., 2.],
           [1., 3.]])
    """
    if path is None:
        raise UsageError(
            "path is None, because no path joins its pair: leave the pair out, or join the components with "
            "connect."
        )
    if isinstance(path, np.ndarray) and path.ndim != 2:
        raise UsageError(
            f"path must be points [L, D], got the shape {path.shape}: give graph.nodes[numbers], with numbers "
            "of nodes that are not None."
        )
    (path,) = finite(path=path)
    if num_points < 2 or num_points % 1:
        raise UsageError(
            f"num_points must be a whole number and at least 2, for both ends, got {num_points}."
        )
    path = path.astype(np.float64)
    moves = np.append(
        True, np.any(path[1:] != path[:-1], axis=1)
    )  # np.interp needs increasing positions
    path = path[moves]
    position = np.append(0.0, np.cumsum(_norms(np.diff(path, axis=0))))
    wanted = np.linspace(0.0, position[-1], int(num_points))
    return np.stack([np.interp(wanted, position, values) for values in path.T], axis=1)


def steps(y: Any) -> np.ndarray:
    """‖y_{t+1} − y_t‖ along curves. [..., T, F] -> [..., T − 1] float64.

    Raises:
      UsageError: T is below 2, or y is not finite.

    >>> steps([[0.0, 0.0], [3.0, 4.0], [3.0, 5.0]])
    array([5., 1.])
    """
    return _norms(np.diff(_curves(y, 2), axis=-2))


def second_differences(y: Any) -> np.ndarray:
    """‖y_{t+1} − 2 y_t + y_{t−1}‖ along curves. [..., T, F] -> [..., T − 2] float64.

    Their mean is the roughness of a curve: 0 for a straight line at constant speed. It depends on T, so curves are
    compared at the same T.

    Raises:
      UsageError: T is below 3, or y is not finite.

    >>> second_differences([[0.0], [1.0], [4.0], [9.0]])  # of t²
    array([2., 2.])
    """
    return _norms(np.diff(_curves(y, 3), n=2, axis=-2))


def jumps(y: Any, threshold: float) -> np.ndarray:
    """True for steps above threshold times the mean step of the curve. [..., T, F] -> [..., T − 1] bool.

    A curve that does not move has no jumps. No step exceeds T − 1 mean steps, so a curve of T points shows no
    jump if T − 1 is at most the threshold.

    Args:
      y: [..., T, F], decoded paths.
      threshold: of `jump_threshold`, in mean steps.

    Raises:
      UsageError: T is below 2, y is not finite, or the threshold is not positive and finite.

    >>> jumps([[0.0], [1.0], [2.0], [8.0]], 2.0)
    array([False, False,  True])
    """
    check_positive(threshold=threshold)
    sizes = steps(y)
    return sizes > threshold * np.mean(sizes, axis=-1, keepdims=True)


def jump_threshold(frames: Any, clips: Any = None, quantile: float = 0.999) -> float:
    """The quantile of steps between consecutive frames, in mean steps of their clip. [N, F] -> number.

      threshold = quantile of ‖x_{t+1} − x_t‖ / mean step of the clip,   over all t and clips

    A path and a clip differ in spacing, and clips in speed: in units of its own mean step each has spacing 1.

    Args:
      frames: [N, F], frames of a clip in order of time.
      clips: [N], the clip of each frame. One clip by default. A step joins rows n and n + 1 of the same
        clip. A clip that does not move is left out.
      quantile: in (0, 1].

    Raises:
      UsageError: frames are not finite; clips are not [N]; no clip moves; the quantile lies outside (0, 1].

    >>> frames = np.array([[0.0], [1.0], [2.0], [6.0], [50.0], [60.0]])
    >>> jump_threshold(frames, np.array([0, 0, 0, 0, 1, 1]), quantile=1.0)  # steps 1, 1, 4 and 10
    2.0
    """
    (frames,) = finite(frames=frames)
    clips = np.zeros(len(frames), np.int32) if clips is None else np.asarray(clips)
    check_equal(shape_of_clips=clips.shape, shape_of_rows=(len(frames),))
    if not 0 < quantile <= 1:
        raise UsageError(f"quantile must lie in (0, 1], got {quantile}.")
    same = clips[1:] == clips[:-1]
    sizes = _norms(np.diff(frames.astype(np.float64), axis=0)[same])
    _, clip = np.unique(clips[1:][same], return_inverse=True)
    if not sizes.any():
        raise UsageError(
            "frames do not move within any clip: give consecutive frames, and the clip of each."
        )
    means = (np.bincount(clip, weights=sizes) / np.bincount(clip))[clip]
    return float(np.quantile(sizes[means > 0] / means[means > 0], quantile))


def _curves(y: Any, at_least: int) -> np.ndarray:
    """y [..., T, F] in float64, with T ≥ at_least."""
    y = np.asarray(y, np.float64)
    if y.ndim < 2 or y.shape[-2] < at_least:
        raise UsageError(
            f"y must be curves [..., T, F] with T ≥ {at_least} points, got the shape {y.shape}."
        )
    finite(y=y.reshape(-1, y.shape[-1]))
    return y


def _norms(vectors: np.ndarray) -> np.ndarray:
    """[..., F] -> [...]."""
    return np.sqrt(np.einsum("...f,...f->...", vectors, vectors))
