"""Data sets that stay in their files: the same examples as those that are loaded."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image
from prepared_data import prepare

from vaelab import data
from vaelab.checks import UsageError

RNG = np.random.default_rng(0)


def assert_same(data_set: data.DataSet, data_dir=None) -> None:
    """All fields of all parts, and some rows in any order."""
    loaded, opened = data_set.load(data_dir), data_set.open(data_dir)
    assert opened is not None
    for name, part in loaded.parts.items():
        stream = getattr(opened, name)
        assert stream.num_examples == len(part.x)
        for ours, theirs in zip(stream.read(), part, strict=True):
            assert (ours is None) == (theirs is None)
            if theirs is not None:
                assert ours.dtype == theirs.dtype
                np.testing.assert_array_equal(ours, theirs)
        for column in ("labels", "groups"):
            np.testing.assert_array_equal(getattr(stream, column), getattr(part, column))
        rows = RNG.permutation(len(part.x))[:5]
        np.testing.assert_array_equal(stream.read(rows).x, part.x[rows])


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64", ">f4", "int16", "bool"])
def test_a_mapped_npy_file_holds_what_is_loaded(dtype, tmp_path):
    np.save(tmp_path / "x.npy", RNG.integers(0, 2, size=(40, 4, 1)).astype(dtype))
    assert_same(data.Files(str(tmp_path / "x.npy")))


def test_an_npy_file_is_not_read_until_rows_are(tmp_path):
    """The file is cut after it has been opened: nothing of it was in memory."""
    np.save(tmp_path / "x.npy", np.ones((40, 4), np.float32))
    opened = data.Files(str(tmp_path / "x.npy")).open()
    x = np.load(tmp_path / "x.npy", mmap_mode="r+")
    x[:] = 7.0
    x.flush()
    assert opened.train.read(np.arange(3)).x.max() == 7.0


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of two classes of grey images, of which one has colours."""
    folder = tmp_path_factory.mktemp("images")
    for name in "ab":
        (folder / name).mkdir()
        for index in range(12):
            shape = (6, 5, 3) if (name, index) == ("b", 3) else (6, 5)
            pixels = RNG.integers(0, 256, size=shape, dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index}.png")
    return folder


@pytest.mark.parametrize("size", [None, 4])
def test_a_folder_of_images_holds_what_is_loaded(size, images):
    assert_same(data.Files(str(images), size=size))


def test_an_image_of_another_size_is_named(images, tmp_path):
    for index in range(12):
        Image.fromarray(np.zeros((6, 5 + (index == 7)), np.uint8)).save(
            tmp_path / f"{index:02}.png"
        )
    data_set = data.Files(str(tmp_path))
    with pytest.raises(UsageError, match=r"07\.png has the size 6x6, and .*00\.png has 5x6: set "):
        data_set.open().train.read()


def record(*contents: bytes, path) -> None:
    from array_record.python.array_record_module import ArrayRecordWriter

    writer = ArrayRecordWriter(str(path), "group_size:1")
    for content in contents:
        writer.write(content)
    writer.close()


def saved(save, *arrays, **named) -> bytes:
    file = io.BytesIO()
    save(file, *arrays, **named)
    return file.getvalue()


def test_array_record_files_hold_what_is_loaded(images, tmp_path):
    """Arrays in one file; arrays with labels and groups in two; images."""
    arrays = [saved(np.save, RNG.integers(0, 256, (3, 2), np.uint8)) for _ in range(20)]
    record(*arrays, path=tmp_path / "bytes.array_record")
    (tmp_path / "two.array_record").mkdir()
    for shard in range(2):
        examples = [
            saved(np.savez, x=RNG.normal(size=3), labels=np.int64(i % 3), groups=i)
            for i in range(10)
        ]
        record(*examples, path=tmp_path / "two.array_record" / f"{shard}-of-2")
    pngs = [(images / "a" / f"{index}.png").read_bytes() for index in range(12)]
    record(*pngs, path=tmp_path / "png.array_record")
    for name in ("bytes", "two", "png"):
        assert_same(data.Files(str(tmp_path / f"{name}.array_record")))
    assert data.Files(str(tmp_path / "two.array_record")).load().train.groups.shape == (16,)


def test_records_that_do_not_fit_are_named(tmp_path):
    small, large = (saved(np.save, np.zeros(size, np.uint8)) for size in (3, 4))
    pickled = saved(np.save, np.array([{}]), allow_pickle=True)
    for content, sentence in (
        (large, r"x of record 7 has the shape \(4,\), and that of record 0 has \(3,\)"),
        (pickled, r"record 7, cannot be read \("),
        (b"neither", "record 7, cannot be read "),
    ):
        path = tmp_path / "x.array_record"
        record(*[small] * 7, content, *[small] * 12, path=path)
        with pytest.raises(UsageError, match=sentence) as error:
            data.Files(str(path)).open().train.stream.rows(np.arange(20))
        assert str(path) in str(error.value)


def test_prepared_images_are_those_that_are_loaded(tmp_path):
    """Also with fewer levels, and with the noise that validation and test get once."""
    prepare(tmp_path, "cifar100", {"train": 30, "test": 8}, (32, 32, 3))
    prepare(tmp_path, "cifar10", {"train": 30, "test": 8}, (32, 32, 3))
    tfds, place = data.TFDS("cifar100"), str(tmp_path)
    for data_set in (tfds, data.ReducedBitDepth(tfds), data.Dequantised(tfds)):
        assert_same(data_set, place)
    assert_same(data.CIFAR10(num_validation=6), place)


def test_data_sets_that_cannot_stay_in_their_files_say_so(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.zeros((20, 2)))
    assert data.Files(str(tmp_path / "x.npz")).open() is None
    assert data.Arrays(np.zeros((20, 2))).open() is None
    assert data.Standardised(RNG.normal(size=(20, 2))).open() is None


def test_a_changed_file_is_refused_when_it_is_opened(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((40, 4), np.float32))
    pinned = data.Files(str(tmp_path / "x.npy")).pinned()
    assert pinned.open() is not None
    np.save(tmp_path / "x.npy", np.ones((40, 4), np.float32))
    with pytest.raises(UsageError, match="has changed: its SHA-256 is"):
        pinned.open()
    assert dataclasses.replace(pinned, sha256=None).open() is not None
