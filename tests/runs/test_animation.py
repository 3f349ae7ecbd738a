"""Animations as files."""

from __future__ import annotations

import numpy as np
import pytest
from etils import epath
from PIL import Image

from vaelab.runs.files import write_animation


def test_a_gif_has_the_frames_and_their_duration(tmp_path):
    path = epath.Path(tmp_path) / "motion.gif"
    shades = np.arange(0, 250, 50, np.uint8)
    frames = np.broadcast_to(shades[:, None, None, None], (5, 8, 6, 3))
    write_animation(path, frames, frames_per_second=25)
    assert [file.name for file in path.parent.iterdir()] == ["motion.gif"]
    with Image.open(path) as gif:
        assert (gif.n_frames, gif.size, gif.info["loop"]) == (5, (6, 8), 0)
        for index, shade in enumerate(shades):
            gif.seek(index)
            assert gif.info["duration"] == 40
            np.testing.assert_allclose(np.asarray(gif.convert("L")), shade, atol=2)


@pytest.mark.parametrize(
    ("frames", "rate", "sentence"),
    [
        (np.zeros((2, 4, 4, 3)), 20, r"frames must be \[T, height, width, 3\] uint8, got float64"),
        (np.zeros((0, 4, 4, 3), np.uint8), 20, "frames must be"),
        (np.zeros((2, 4, 4, 3), np.uint8), 0, r"frames_per_second must lie in \(0, 50\], got 0"),
        (np.zeros((2, 4, 4, 3), np.uint8), 60, r"frames_per_second must lie in \(0, 50\], got 60"),
    ],
)
def test_frames_that_do_not_fit_are_refused(tmp_path, frames, rate, sentence):
    with pytest.raises(ValueError, match=sentence):
        write_animation(epath.Path(tmp_path) / "a.gif", frames, frames_per_second=rate)
    assert not list(tmp_path.iterdir())
