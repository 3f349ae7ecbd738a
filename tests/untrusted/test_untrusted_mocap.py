"""Malformed skeletons and clips."""

from __future__ import annotations

import gzip

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st
from malformed import NUMBERS, damaged, for_all, num_inputs, reads_or_refuses

from vaelab.checks import DamagedFileError
from vaelab.data.mocap import MotionCapture
from vaelab.data.mocap.amc import read_clip
from vaelab.data.mocap.asf import read_skeleton
from vaelab.data.mocap.kinematics import joint_positions

ASF = """# text
:version 1.10
:units
  mass 1.0
  length 0.45
  angle deg
:root
   order TX TY TZ RX RY RZ
   axis XYZ
   position 0 0 0
   orientation 0 0 0
:bonedata
{bones}
:hierarchy
  begin
{hierarchy}
  end
"""
BONE = """  begin
     id {number}
     name {name}
     direction 0 1 0
     length 2.5
     axis 0 0 20 XYZ
     dof {dof}
  end
"""
FRAME = "{number}\nroot 0 0 0 0 {angle} 0\nhip {angle} 2 3\nknee {angle}\n"


def skeleton(names, hierarchy) -> bytes:
    bones = "".join(
        BONE.format(number=i, name=name, dof="rx" if i % 2 else "rx ry rz")
        for i, name in enumerate(names)
    )
    lines = "\n".join("  " + " ".join(line) for line in hierarchy)
    return ASF.format(bones=bones, hierarchy=lines).encode()


def clip(num_frames: int) -> bytes:
    frames = [FRAME.format(number=i + 1, angle=np.sin(i)) for i in range(num_frames)]
    return ("#!OML:ASF C:\\two.asf\n:FULLY-SPECIFIED\n:DEGREES\n" + "".join(frames)).encode()


VALID = skeleton(["hip", "knee"], [["root", "hip"], ["hip", "knee"]])
NAMES = st.sampled_from(["hip", "knee", "root", "foot", "begin", "\x9b31m", "x" * 90])
SKELETONS = st.tuples(
    st.lists(NAMES, max_size=5), st.lists(st.lists(NAMES, min_size=1, max_size=3), max_size=5)
).map(lambda pair: skeleton(*pair))


def is_skeleton(found) -> None:
    assert all(bone.parent < number for number, bone in enumerate(found.bones))
    positions = joint_positions(found, jnp.zeros(len(found.channels)))
    assert np.isfinite(positions).all()


@num_inputs
def test_skeletons_are_read_or_refused(num_inputs, tmp_path):
    path = tmp_path / "x.asf"

    def accept(found):
        offsets = np.array([[*bone.offset, *bone.axis] for bone in found.bones])
        assert np.isfinite(offsets.astype(np.float32)).all()
        assert len(set(found.names)) == len(found.names)
        assert all(bone.parent < number for number, bone in enumerate(found.bones))

    def check(content):
        path.write_bytes(content)
        return reads_or_refuses(lambda: read_skeleton(path), accept, folder=tmp_path)

    for_all(num_inputs, check, damaged(VALID) | SKELETONS | damaged(gzip.compress(VALID)))
    path.write_bytes(VALID)
    is_skeleton(read_skeleton(path))


@num_inputs
def test_clips_are_read_or_refused(num_inputs, tmp_path):
    (tmp_path / "two.asf").write_bytes(VALID)
    two, path = read_skeleton(tmp_path / "two.asf"), tmp_path / "x.amc"
    data_set = MotionCapture(
        str(tmp_path / "two.asf"), {"walk": (str(path),)}, frames_per_second=4.0
    )

    def accept(found):
        assert found.channels.shape[1] == len(two.channels)
        assert np.isfinite(found.channels).all()

    def check(content):
        path.write_bytes(content)
        finite = lambda splits: np.isfinite(splits.train.x).all() or pytest.fail("inf")  # noqa: E731
        reads_or_refuses(data_set.load, finite)
        return reads_or_refuses(lambda: read_clip(path, two), accept, folder=tmp_path)

    words = st.lists(st.sampled_from(["1", "2", "²", "hip", "root", ":DEGREES", "\n", "9" * 5000, *(n.decode() for n in NUMBERS)]), max_size=20)  # fmt: skip
    texts = words.map(lambda found: " ".join(found).encode("latin-1"))
    tail = texts.map(lambda text: clip(20) + text)
    for_all(num_inputs, check, damaged(clip(20)) | texts | tail | damaged(gzip.compress(clip(20))))


def test_a_bone_is_named_once_and_is_not_the_root(tmp_path):
    for names, twice in ((["hip", "hip"], "hip"), (["hip", "root"], "root")):
        (tmp_path / "x.asf").write_bytes(skeleton(names, [["root", "hip"]]))
        with pytest.raises(DamagedFileError, match=f"two bones have the name {twice}"):
            read_skeleton(tmp_path / "x.asf")


def test_bones_in_a_circle_do_not_hang_from_the_root(tmp_path):
    (tmp_path / "x.asf").write_bytes(skeleton(["hip", "knee"], [["hip", "knee"], ["knee", "hip"]]))
    with pytest.raises(DamagedFileError, match="bone hip does not hang from the root"):
        read_skeleton(tmp_path / "x.asf")


@pytest.mark.parametrize("shape", ["chain", "star"])
def test_a_body_of_too_many_bones_is_refused(shape, tmp_path):
    names = [f"bone{i}" for i in range(1001)]
    parents = ["root", *names] if shape == "chain" else ["root"] * 1001
    lines = [[parent, name] for parent, name in zip(parents, names, strict=False)]
    path = tmp_path / "x.asf"
    path.write_bytes(skeleton(names, lines))
    with pytest.raises(DamagedFileError, match="1001 bones, more than the 1000 that are read"):
        read_skeleton(path)
    path.write_bytes(skeleton(names[:300], lines[:300]))
    is_skeleton(read_skeleton(path))


def test_a_compressed_text_without_an_end_is_refused(tmp_path):
    path = tmp_path / "x.asf"
    path.write_bytes(gzip.compress(b"# " + bytes(2**26), 1))
    with pytest.raises(DamagedFileError, match="it has more than 67,108,864 bytes"):
        read_skeleton(path)


def test_a_number_that_float32_cannot_square_is_refused(tmp_path):
    path = tmp_path / "x.asf"
    path.write_bytes(VALID.replace(b"length 2.5", b"length 2.5e20"))
    with pytest.raises(DamagedFileError, match=r"holds 2\.5e20, which is larger than 1e\+09"):
        read_skeleton(path)
