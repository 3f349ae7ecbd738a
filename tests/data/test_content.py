"""Data sets that are tied to the content of their files."""

from __future__ import annotations

import dataclasses
import hashlib
import re

import numpy as np
import pytest

from vaelab import data
from vaelab.runs.record import to_record

IMAGES = np.random.default_rng(0).integers(256, size=(40, 8, 8, 1), dtype=np.uint8)


@pytest.fixture
def path(tmp_path):
    np.savez(tmp_path / "x.npz", x=IMAGES, labels=np.arange(40) % 10)
    return tmp_path / "x.npz"


def test_a_pinned_file_records_its_sha256(path):
    files = data.Files(str(path))
    assert files.pinned().sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert files.pinned().pinned() == files.pinned() != files
    np.testing.assert_array_equal(files.pinned().load().test.x, files.load().test.x)
    before = to_record(files.pinned())
    np.savez(path, x=IMAGES[::-1])
    assert to_record(files.pinned()) != before


def test_a_file_that_changed_is_refused_and_one_that_moved_is_not(path, tmp_path):
    pinned = data.Files(str(path)).pinned()
    moved = tmp_path / "moved.npz"
    path.rename(moved)
    dataclasses.replace(pinned, path=str(moved)).load()
    np.savez(path, x=IMAGES[::-1])
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    sentence = (
        f"{path} has changed: its SHA-256 is {found[:12]}..., and sha256 is {pinned.sha256[:12]}...: restore "
        "the content, or set sha256 to None."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        pinned.load()


@pytest.mark.parametrize("change", ["content", "name", "file"])
def test_a_folder_has_a_digest_of_its_names_and_contents(change, tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat/a.png").write_bytes(b"a")
    before = data.Files(str(tmp_path)).pinned()
    assert data.Files(str(tmp_path)).pinned() == before
    if change == "content":
        (tmp_path / "cat/a.png").write_bytes(b"b")
    elif change == "name":
        (tmp_path / "cat/a.png").rename(tmp_path / "a.png")
    else:
        (tmp_path / "b.png").write_bytes(b"")
    assert data.Files(str(tmp_path)).pinned() != before


@pytest.mark.parametrize(
    "wrapper",
    [
        data.Standardised, data.Dequantised, data.ReducedBitDepth, data.MNISTSum, data.MNISTRotate,
        lambda source: data.Resized(source, 4), lambda source: data.MicroMNIST(source=source),
    ],
)  # fmt: skip
def test_wrappers_pin_their_source(wrapper, path):
    source = data.Files(str(path))
    if wrapper in (data.MNISTSum, data.MNISTRotate):
        assert wrapper(source=source).pinned() == wrapper(source=source.pinned())
    else:
        assert wrapper(source).pinned() == wrapper(source.pinned())


def test_other_data_sets_are_pinned_already():
    assert data.MNIST().pinned() == data.MNIST()
