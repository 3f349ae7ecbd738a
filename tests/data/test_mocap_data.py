"""Motion capture as a data set: the cut in time, standardisation, records, pictures, and mistakes."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import os
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from two_bones import ASF, long_clip

from vaelab import data
from vaelab.checks import UndefinedError, UsageError
from vaelab.data.standardised import scaling_of
from vaelab.runs.identity import plain
from vaelab.runs.rebuild import from_record
from vaelab.runs.record import to_record
from vaelab.training.samplers import Balanced
from vaelab.training.sources import in_memory

NUM_FRAMES = [343, 298, 173, 483, 1854, 2645]


@pytest.fixture(scope="module")
def subject():
    data_set = data.MotionCapture()
    return data_set, data_set.load()


@pytest.fixture
def own(tmp_path):
    """Two clips of the same skeleton, as two movements. Frame t has the angles t and t, or t and 2 t."""
    (tmp_path / "two.asf").write_text(ASF)
    (tmp_path / "slow.amc").write_text(long_clip(100))
    (tmp_path / "fast.amc").write_text(long_clip(100, lower=2.0))
    return data.MotionCapture(
        tmp_path / "two.asf", {"slow": (tmp_path / "slow.amc",), "fast": (tmp_path / "fast.amc",)}
    )


def test_subject_02_has_five_movements_and_50_angles(subject):
    data_set, splits = subject
    body = data_set.body()
    assert data_set.movements == ("walk", "run", "balance", "punch", "wash")
    still = set(body.skeleton.channels) - set(body.coordinates)
    assert collections.Counter(bone for bone, _ in still) == {
        "root": 6, "lclavicle": 2, "rclavicle": 2, "lfingers": 1, "rfingers": 1
    }  # fmt: skip
    for part in splits.parts.values():
        assert part.x.shape[1:] == (50,)
        assert part.groups is None


def test_every_clip_is_cut_in_time(subject):
    data_set, splits = subject
    rows = data_set.rows_of_clips()
    for name, part in splits.parts.items():
        np.testing.assert_array_equal(np.sort(np.concatenate(rows[name])), np.arange(len(part.x)))
        movements = [np.unique(part.labels[clip]).tolist() for clip in rows[name]]
        assert movements == [[0], [0], [1], [2], [3], [4]]
        first = part.labels[: len(part.x) // 4]
        assert len(np.unique(first)) == 5  # rows are in random order
    for number, num_frames in enumerate(NUM_FRAMES):
        size = {name: len(clips[number]) for name, clips in rows.items()}
        assert size["test"] == round(0.2 * num_frames)
        assert size["validation"] == round(0.1 * num_frames)
        assert sum(size.values()) == num_frames - 2 * 30  # two gaps of a quarter of a second


@pytest.mark.parametrize(
    ("fields", "frames"),
    [
        ({}, (range(10), range(40, 50), range(80, 100))),
        ({"gap": 0.0}, (range(70), range(70, 80), range(80, 100))),
        ({"gap": 0.25, "frames_per_second": 20}, (range(60), range(65, 75), range(80, 100))),
        ({"every": 2}, (range(0, 10, 2), range(40, 50, 2), range(80, 100, 2))),
        ({"fractions": (0.4, 0.3, 0.3), "gap": 0.0}, (range(40), range(40, 70), range(70, 100))),
    ],
)
def test_parts_hold_these_frames(own, fields, frames):
    own = dataclasses.replace(own, **fields)
    splits, rows = own.load(), own.rows_of_clips()
    for (name, part), expected in zip(splits.parts.items(), frames, strict=True):
        for label, clip in enumerate(rows[name]):
            degrees = splits.in_data_units(part.x[clip])
            angles = np.outer(expected, [1, label + 1])
            np.testing.assert_allclose(degrees, angles, atol=1e-4)
            assert (part.labels[clip] == label).all()


def test_statistics_are_those_of_the_training_part(subject):
    _, splits = subject
    np.testing.assert_allclose(splits.train.x.mean(0, dtype=np.float64), 0, atol=1e-6)
    np.testing.assert_allclose(splits.train.x.std(0, dtype=np.float64), 1, atol=1e-6)
    again = scaling_of(splits.in_data_units(splits.train.x))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), again, splits.scaling)


def test_balanced_batches_hold_every_movement_equally_often(subject):
    source = in_memory(subject[1].train, batch_size=50, sampler=Balanced())
    key, step = jax.random.key(0), jnp.asarray(0)
    batch, _ = source.next(source.start(key, step), key, step)
    assert np.bincount(batch.labels).tolist() == [10] * 5


def test_shipped_files_are_those_of_the_data_directory(subject):
    """A fresh clone trains on the same numbers."""
    data_set, splits = subject
    if not os.path.isdir(os.path.join(os.environ.get("VAELAB_DATA", ""), "cmu_mocap")):
        pytest.skip("motion capture is not in $VAELAB_DATA")
    clips = {
        movement.name: [
            clip.replace("subject_02", "cmu_mocap").removesuffix(".gz") for clip in movement.clips
        ]
        for movement in data_set.clips
    }
    others = data.MotionCapture("cmu_mocap/02.asf", clips).load()
    jax.tree.map(np.testing.assert_array_equal, others, splits)


def test_poses_are_those_of_the_clip_without_its_root(own):
    splits, body = own.load(), own.body()
    assert body.coordinates == (("upper", "rz"), ("lower", "rx"))
    assert body.bones == ((0, 1), (1, 2))
    assert body.reach == 3
    angle = np.deg2rad(np.arange(80, 100))
    slow = splits.test.x[own.rows_of_clips()["test"][0]]
    poses = body.poses(jnp.asarray(splits.in_data_units(slow)))
    np.testing.assert_allclose(poses[:, 0], 0)
    elbow = 2 * np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    np.testing.assert_allclose(poses[:, 1], elbow, atol=1e-4)
    # The lower bone turns by `angle` about the y axis of the upper bone.
    hand = np.cos(angle)[:, None] * elbow / 2 - np.sin(angle)[:, None] * np.array([0, 0, 1])
    np.testing.assert_allclose(poses[:, 2], elbow + hand, atol=1e-4)


def test_angles_that_do_not_vary_keep_their_value_in_poses(own, tmp_path):
    for name in ("slow", "fast"):
        text = (tmp_path / f"{name}.amc").read_text()
        (tmp_path / f"{name}.amc").write_text(re.sub(r"lower .*", "lower 90", text))
    body = own.body()
    assert body.coordinates == (("upper", "rz"),)
    np.testing.assert_allclose(body.poses(jnp.zeros((1, 1)))[0, 2], [2, 0, -1], atol=1e-6)


def test_a_stick_figure_is_the_projection_of_its_pose(own):
    # At 0 degrees the arm of length 3 lies along x, and 35 degrees of view shorten it.
    shown = own.show(np.zeros((1, 2)))
    assert shown.images.shape == (1, 96, 96, 1)
    assert shown.note == ""
    ink = 1 - shown.images[0, ..., 0]
    columns = np.flatnonzero(ink.max(axis=0) > 0.5)
    room = 48 - 2.25  # half an image, less the width of a line
    assert columns[0] == pytest.approx(48, abs=1)
    assert columns[-1] == pytest.approx(48 + room * np.cos(np.deg2rad(35)), abs=1.5)
    rows = np.flatnonzero(ink.max(axis=1) > 0.5)
    assert set(rows) <= {46, 47, 48, 49}


def test_stick_figures_have_one_scale_and_stay_inside(own):
    angles = np.random.default_rng(0).uniform(-180, 180, (30, 2)).astype(np.float32)
    images = own.show(angles).images
    np.testing.assert_array_equal(own.show(angles[7:8]).images[0], images[7])
    border = np.ones((96, 96, 1), bool)
    border[1:-1, 1:-1] = False
    assert (images[:, border] == 1).all()
    assert (images.min(axis=(1, 2, 3)) < 0.1).all()
    upright = 1 - own.show(np.float32([[90, 0]])).images[0, ..., 0]
    assert upright[:48].sum() > 20 * upright[50:].sum()  # y points upwards


def test_the_data_set_survives_its_record(own, subject):
    for data_set in (subject[0].pinned(), own.pinned()):
        record = plain(to_record(data_set))
        assert from_record(record) == data_set
        assert hash(from_record(record)) == hash(data_set)
    renamed = dataclasses.replace(own, clips=tuple(reversed(own.clips)))
    assert renamed != own
    assert renamed.movements == ("fast", "slow")


def test_pinned_clips_record_their_sha256_and_refuse_other_content(own, tmp_path):
    pinned = own.pinned()
    names = ("two.asf", "slow.amc", "fast.amc")
    assert pinned.sha256 == tuple(
        hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in names
    )
    assert pinned.pinned() == pinned
    jax.tree.map(np.testing.assert_array_equal, pinned.load(), own.load())
    (tmp_path / "fast.amc").write_text(long_clip(101))
    with pytest.raises(UsageError, match=rf"^{tmp_path}/fast\.amc has changed: its SHA-256 is "):
        pinned.load()


def test_paths_start_at_the_data_directory_too(own, tmp_path):
    relative = data.MotionCapture("two.asf", {"slow": "slow.amc", "fast": "fast.amc"})
    jax.tree.map(np.testing.assert_array_equal, relative.load(str(tmp_path)), own.load())
    assert relative.pinned(str(tmp_path)).sha256 == own.pinned().sha256


def test_pictures_without_the_files_are_undefined(own, tmp_path):
    (tmp_path / "slow.amc").unlink()
    sentence = (
        rf"^stick figures need the data's files, and {tmp_path}/slow\.amc was not found, .*\.$"
    )
    with pytest.raises(UndefinedError, match=sentence):
        own.show(np.zeros((1, 2)))


_CLIPS = (
    "clips must hold one path or more for each movement, and each movement once, such as "
    '{"walk": ("walk.amc",)}, got '
)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"clips": {}}, _CLIPS + "{}."),
        ({"clips": ("walk.amc",)}, _CLIPS + "('walk.amc',)."),
        ({"clips": {"walk": ()}}, _CLIPS + "{'walk': ()}."),
        ({"clips": (("a", ("b",)), ("a", ("c",)))}, _CLIPS + "(('a', ('b',)), ('a', ('c',)))."),
        ({"clips": 3}, _CLIPS + "3."),
        (
            {"clips": {"walk": ("a.amc", "b.amc", "a.amc")}},
            "clips must name each file once, got a.amc twice: remove one of them.",
        ),
        (
            {"clips": {"walk": "a.amc", "run": "a.amc"}},
            "clips must name each file once, got a.amc twice: remove one of them.",
        ),
        (
            {"sha256": ("1a", "2b")},
            "sha256 must hold 7 digests, of the skeleton and of each clip, got 2: set it to None.",
        ),
        ({"every": 0}, "every must be at least 1, got 0."),
        ({"gap": -1.0}, "gap must be finite and not negative, got -1.0."),
        ({"frames_per_second": 0}, "frames_per_second must be positive and finite, got 0."),
    ],
)
def test_mistaken_fields_are_refused(fields, sentence):
    with pytest.raises(UsageError, match=f"^{re.escape(sentence)}$"):
        data.MotionCapture(**fields)


def test_a_clip_of_another_skeleton_is_refused(own, tmp_path):
    for name in ("slow", "fast"):
        path = tmp_path / f"{name}.amc"
        path.write_text(f"#!OML:ASF F:\\users\\{name}.ASF\n{path.read_text()}")
    sentence = (
        f"{tmp_path}/fast.amc was recorded with the skeleton fast.asf, and {tmp_path}/slow.amc with "
        "slow.asf: give clips of one skeleton, or remove the lines that begin with #!OML:ASF if the "
        "skeletons are equal."
    )
    with pytest.raises(UsageError, match=f"^{re.escape(sentence)}$"):
        own.load()


def test_a_folder_in_the_place_of_a_file_is_named(own, tmp_path):
    (tmp_path / "mycap").mkdir()
    for fields, files in (
        ({"clips": {"walk": tmp_path / "mycap"}}, "AMC files"),
        ({"skeleton": tmp_path / "mycap"}, "an ASF file"),
    ):
        sentence = f"{tmp_path}/mycap is a folder: name {files}."
        with pytest.raises(UsageError, match=f"^{re.escape(sentence)}$"):
            dataclasses.replace(own, **fields).load()


def test_a_clip_that_is_too_short_is_named(own, tmp_path):
    (tmp_path / "fast.amc").write_text(long_clip(85))
    sentence = (
        f"{tmp_path}/fast.amc has 85 frames, too few for train, validation, test and two gaps of 30 "
        "frames: give a longer clip, or set gap, every or fractions."
    )
    with pytest.raises(UsageError, match=f"^{re.escape(sentence)}$"):
        own.load()


def test_clips_without_movement_are_refused(own, tmp_path):
    for name in ("slow", "fast"):
        text = (tmp_path / f"{name}.amc").read_text()
        (tmp_path / f"{name}.amc").write_text(re.sub(r"(lower|upper) .*", r"\1 5", text))
    with pytest.raises(UsageError, match=r"^no angle of the training part varies: give clips in"):
        own.load()
