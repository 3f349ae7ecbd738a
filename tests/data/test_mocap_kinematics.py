"""Positions of joints: a skeleton by hand, an independent implementation, and laws that real clips obey."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from two_bones import AMC, ASF

from vaelab.data import mocap
from vaelab.data.mocap.dataset import SHIPPED

SUBJECT = SHIPPED / "subject_02"


@pytest.fixture(scope="module")
def skeleton():
    return mocap.read_skeleton(SUBJECT / "02.asf.gz")


@pytest.fixture(scope="module")
def washing(skeleton):
    return mocap.read_clip(SUBJECT / "02_10.amc.gz", skeleton).channels


def test_two_bones_lie_at_positions_computed_by_hand(tmp_path):
    (tmp_path / "two.asf").write_text(ASF)
    (tmp_path / "two.amc").write_text(AMC)
    skeleton = mocap.read_skeleton(tmp_path / "two.asf")
    channels = mocap.read_clip(tmp_path / "two.amc", skeleton).channels
    # The axis of the lower bone turns its x into y, so it turns about the y axis of the upper bone.
    # At 90 degrees its direction x becomes −z. The upper bone turns about z, and its x becomes y.
    # The third frame turns all of it about x, (x, y, z) -> (x, −z, y), then about z, -> (−y, x, z).
    expected = [
        [[0, 0, 0], [2, 0, 0], [3, 0, 0]],
        [[0, 0, 0], [0, 2, 0], [0, 2, -1]],
        [[1, 2, 3], [1, 2, 5], [0, 2, 5]],
    ]
    positions = mocap.joint_positions(skeleton, jnp.asarray(channels, jnp.float32))
    np.testing.assert_allclose(positions, expected, atol=1e-6)


def test_positions_equal_those_of_rotations_in_scipy(skeleton, washing):
    """One bone after the other, in float64."""
    frames = washing[::500]
    place = {channel: number for number, channel in enumerate(skeleton.channels)}
    turns, ends = [], []
    for bone in skeleton.bones:
        angles = [
            frames[:, place[bone.name, f"r{letter}"]] if f"r{letter}" in bone.freedom else 0 * frames[:, 0]
            for letter in "xyz"
        ]  # fmt: skip
        axis = Rotation.from_euler("xyz", bone.axis, degrees=True)
        turn = axis * Rotation.from_euler("xyz", np.stack(angles, 1), degrees=True) * axis.inv()
        if bone.parent < 0:
            turns.append(turn)
            ends.append(frames[:, :3])
        else:
            turns.append(turns[bone.parent] * turn)
            ends.append(ends[bone.parent] + turns[-1].apply(bone.offset))
    found = mocap.joint_positions(skeleton, jnp.asarray(frames, jnp.float32))
    np.testing.assert_allclose(found, np.stack(ends, 1), atol=1e-4)


def test_bones_keep_their_length(skeleton, washing):
    positions = mocap.joint_positions(skeleton, jnp.asarray(washing, jnp.float32))
    begin, end = np.array(skeleton.pairs).T
    lengths = np.linalg.norm(positions[:, end] - positions[:, begin], axis=-1)
    in_file = [np.linalg.norm(bone.offset) for bone in skeleton.bones[1:]]
    np.testing.assert_allclose(lengths, np.broadcast_to(in_file, lengths.shape), rtol=1e-5)


def test_feet_of_a_washing_person_stay_on_the_floor(skeleton, washing):
    """The lowest joint keeps its height, though the person bends: a wrong order of turns would lift it."""
    height = mocap.joint_positions(skeleton, jnp.asarray(washing, jnp.float32))[..., 1]
    lowest = height.min(axis=1)
    assert jnp.ptp(lowest) < 0.01 * height.max()
    assert jnp.ptp(height[:, 0]) > 0.1 * height.max()  # the hips go down


def test_positions_are_differentiable_and_map_over_any_axes(skeleton, washing):
    channels = jnp.asarray(washing[:6], jnp.float32)
    together = mocap.joint_positions(skeleton, channels)
    shaped = mocap.joint_positions(skeleton, channels.reshape(2, 3, -1))
    one = jax.vmap(lambda c: mocap.joint_positions(skeleton, c))(channels)
    np.testing.assert_allclose(shaped.reshape(together.shape), together, atol=1e-5)
    np.testing.assert_allclose(one, together, atol=1e-5)
    column = skeleton.channels.index(("lowerback", "rx"))
    with jax.enable_x64(True):
        exact = jnp.asarray(washing[0])

        def head(angle):
            return mocap.joint_positions(skeleton, exact.at[column].set(angle))[-1]

        step = 1e-3
        difference = (head(exact[column] + step) - head(exact[column] - step)) / (2 * step)
        np.testing.assert_allclose(jax.jacfwd(head)(exact[column]), difference, atol=1e-5)
