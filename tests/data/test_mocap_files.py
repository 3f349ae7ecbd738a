"""ASF and AMC files: numbers that were read by hand, line ends, units, and damages."""

from __future__ import annotations

import gzip
import re

import numpy as np
import pytest
from two_bones import AMC, ASF

from vaelab.checks import DamagedFileError
from vaelab.data import mocap
from vaelab.data.mocap.dataset import SHIPPED

SUBJECT = SHIPPED / "subject_02"


@pytest.fixture(scope="module")
def skeleton():
    return mocap.read_skeleton(SUBJECT / "02.asf.gz")


@pytest.fixture
def files(tmp_path):
    (tmp_path / "two.asf").write_text(ASF)
    (tmp_path / "two.amc").write_text(AMC)
    return tmp_path


def test_the_skeleton_equals_its_file(skeleton):
    assert len(skeleton.bones) == 31
    assert len(skeleton.channels) == 62
    assert skeleton.channels[:6] == tuple(("root", f"{k}{axis}") for k in "tr" for axis in "xyz")
    bones = {bone.name: bone for bone in skeleton.bones}
    names = skeleton.names
    assert names[bones["rthumb"].parent] == "rwrist"
    assert names[bones["lclavicle"].parent] == "thorax"
    assert bones["lfoot"].freedom == ("rx", "rz")
    assert bones["lhipjoint"].freedom == ()
    assert bones["rfoot"].axis == (-90, -7.62852e-016, -20)
    np.testing.assert_allclose(
        bones["rtibia"].offset, np.multiply(7.21538, [-0.34202, -0.939693, 0]), rtol=1e-5
    )
    parents = [bone.parent for bone in skeleton.bones]
    assert all(parent < joint for joint, parent in enumerate(parents))
    assert skeleton.pairs == tuple(zip(parents[1:], range(1, 31), strict=True))


@pytest.mark.parametrize(
    ("clip", "num_frames", "frame", "bone", "values"),
    [
        ("02_01", 343, 1, "root", [10.4194, 16.7048, -30.1003, -2.48972, -9.82194, -3.00914]),
        ("02_01", 343, 1, "rhumerus", [-9.40273, 14.8795, -82.1974]),
        ("02_03", 173, 100, "lowerback", [6.41492, -3.46363, -2.30922]),
        ("02_03", 173, 100, "rradius", [84.9736]),
        ("02_10", 2645, 2645, "lfoot", [-15.0082, 19.7128]),
        ("02_10", 2645, 2645, "ltoes", [-2.66037]),
    ],
)
def test_clips_equal_their_files(skeleton, clip, num_frames, frame, bone, values):
    read = mocap.read_clip(SUBJECT / f"{clip}.amc.gz", skeleton)
    assert read.channels.shape == (num_frames, 62)
    assert read.skeleton == "takeomonday.asf"
    columns = [number for number, (name, _) in enumerate(skeleton.channels) if name == bone]
    np.testing.assert_array_equal(read.channels[frame - 1, columns], values)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "mixed"])
@pytest.mark.parametrize("compressed", [False, True])
def test_line_ends_and_compression_do_not_matter(files, end, compressed):
    for name in ("two.asf", "two.amc"):
        lines = (files / name).read_text().splitlines()
        ends = ["\n", "\r\n", "\r"] if end == "mixed" else [end]
        text = "".join(line + ends[i % len(ends)] for i, line in enumerate(lines)).encode()
        (files / name).write_bytes(gzip.compress(text) if compressed else text)
    skeleton = mocap.read_skeleton(files / "two.asf")
    assert skeleton.names == ("root", "upper", "lower")
    clip = mocap.read_clip(files / "two.amc", skeleton)
    expected = [[0] * 8, [0, 0, 0, 0, 0, 0, 90, 90], [1, 2, 3, 90, 0, 90, 90, 90]]
    np.testing.assert_array_equal(clip.channels, expected)
    assert clip.skeleton == "two.asf"


def test_radians_become_degrees(files):
    degrees = mocap.read_skeleton(files / "two.asf")
    radians = ASF.replace("angle deg", "angle rad").replace("axis 0 0 90", f"axis 0 0 {np.pi / 2}")
    (files / "two.asf").write_text(radians)
    assert mocap.read_skeleton(files / "two.asf") == degrees
    text = AMC.replace(":DEGREES", ":RADIANS").replace("90", str(np.pi / 2))
    (files / "radians.amc").write_text(text)
    channels = [
        mocap.read_clip(files / name, degrees).channels for name in ("two.amc", "radians.amc")
    ]
    np.testing.assert_allclose(channels[1], channels[0], rtol=1e-14)  # lengths are not converted


AMC_DAMAGES = [
    ("upper 90", "elbow 90", ": line 11, frame 2: bone elbow is not a bone with channels of the skeleton: name the ASF file of this clip."),
    ("lower 90", "lower nan", ": line 10, frame 2: bone lower holds nan, which is not a finite number: repair the file."),
    ("lower 90", "lower 1,5", ": line 10, frame 2: bone lower holds 1,5, which is not a finite number: repair the file."),
    ("root 1 2 3 90 0 90", "root 1 2 3 90 0", ": line 13, frame 3: bone root has 5 channels, and the skeleton gives it 6 (tx ty tz rx ry rz): repair the file, or name the ASF file of this clip."),
    ("upper 0\n", "", ": line 4, frame 1: bone upper is missing: repair the file."),
    ("upper 0\n", "lower 0\n", ": line 7, frame 1: bone lower occurs twice: repair the file."),
    ("3\nroot", "5\nroot", ": line 12: frame 5 follows frame 2: make a clip of each part without missing frames."),
    (":DEGREES\n", "", ": the file does not state its unit of angle: add a line :DEGREES or :RADIANS before the first frame."),
    (AMC[AMC.index("1\nroot"):], "", ": the file holds no frames: name an AMC file."),
    (AMC, ASF, ": line 5 must be the number of a frame, got mass: name an AMC file."),
    (AMC, "<html>\n", ": line 1 must be the number of a frame, got <html>: name an AMC file."),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "sentence"), AMC_DAMAGES)
def test_a_damaged_clip_is_named_with_line_frame_and_bone(files, old, new, sentence):
    skeleton = mocap.read_skeleton(files / "two.asf")
    path = files / "damaged.amc"
    path.write_text(AMC.replace(old, new, 1))
    with pytest.raises(DamagedFileError, match=f"^{re.escape(str(path) + sentence)}$"):
        mocap.read_clip(path, skeleton)


_REPAIR = "repair the file, or name an ASF file."
ASF_DAMAGES = [
    ("name lower", "name forearm", ": the hierarchy names lower, which is not a bone, or is named twice: "),
    ("upper lower", "upper upper", ": the hierarchy names upper, which is not a bone, or is named twice: "),
    ("    upper lower\n", "", ": bone lower does not hang from the root: "),
    ("direction 4 0 0", "direction 4 0", ": direction of bone lower must hold 3 numbers, got 4 0: repair the file."),
    ("direction 4 0 0", "direction 0 0 0", ": bone lower must have a direction and a length that is not negative: "),
    ("length 1\n", "length inf\n", ": length of bone lower holds inf, which is not a finite number: repair the file."),
    ("     length 1\n", "", ": length of bone lower must hold 1 numbers, got nothing: repair the file."),
    ("dof rx", "dof rx l", ": dof of bone lower must hold some of rx, ry, rz, each once, got rx l: "),
    ("axis 0 0 90 XYZ", "axis 0 0 90", ": axis of bone lower must name an order such as XYZ, got 90: "),
    ("order TX", "order TX TX", ": order of bone root must hold some of tx, ty, tz, rx, ry, rz, each once, got tx tx ty tz rx ry rz: "),
    ("     name lower\n", "", ": the bone that ends in line 33 has no name: "),
    ("angle deg", "angle grad", ": the unit of angle must be deg or rad, got grad: "),
    (":hierarchy", ":tree", ": the file has no section :hierarchy: "),
    (ASF, AMC, ": the file has no section :units: "),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "sentence"), ASF_DAMAGES)
def test_a_damaged_skeleton_is_named_with_its_bone(files, old, new, sentence):
    path = files / "damaged.asf"
    path.write_text(ASF.replace(old, new, 1))
    sentence = str(path) + sentence + ("" if sentence.endswith(".") else _REPAIR)
    with pytest.raises(DamagedFileError, match=f"^{re.escape(sentence)}$"):
        mocap.read_skeleton(path)


def test_a_file_that_was_cut_is_named(files):
    path = files / "cut.asf.gz"
    path.write_bytes(gzip.compress(ASF.encode())[:100])
    with pytest.raises(DamagedFileError, match=f"^{re.escape(str(path))} cannot be read"):
        mocap.read_skeleton(path)
