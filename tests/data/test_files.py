"""The places of files, and idx files made by hand."""

from __future__ import annotations

import gzip
import re
import struct

import numpy as np
import pytest
from etils import epath

from vaelab.data.files import data_directory, find_file
from vaelab.data.readers import read_idx

HEADER = b"\x00\x00\x08\x03" + struct.pack(">III", 2, 2, 3)
VALUES = bytes(range(12))


def test_directory_is_the_argument_then_the_variable_then_the_cache(monkeypatch):
    monkeypatch.setenv("VAELAB_DATA", "/from/variable")
    assert data_directory("/from/argument") == epath.Path("/from/argument")
    assert data_directory() == epath.Path("/from/variable")
    monkeypatch.delenv("VAELAB_DATA")
    assert data_directory() == epath.Path("~/.cache/vaelab").expanduser()


def test_find_file_finds_packed_and_unpacked_files(tmp_path):
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist/images").touch()
    found = find_file("mnist/images.gz", str(tmp_path), remedy="")
    assert found == epath.Path(tmp_path / "mnist/images")
    (tmp_path / "mnist/images.gz").touch()
    found = find_file("mnist/images.gz", str(tmp_path), remedy="")
    assert found == epath.Path(tmp_path / "mnist/images.gz")


def test_a_missing_file_is_one_sentence(tmp_path):
    sentence = (
        f"faces.mat was not found in {tmp_path}: download it, or name another folder with --data-dir "
        "or $VAELAB_DATA."
    )
    with pytest.raises(FileNotFoundError, match=f"^{re.escape(sentence)}$"):
        find_file("faces.mat", str(tmp_path), remedy="download it")


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("packed", [False, True])
def test_read_idx_reads_big_endian_row_major_bytes(tmp_path, suffix, packed):
    """The first bytes, not the name, tell if the file is packed."""
    path = tmp_path / f"images{suffix}"
    content = HEADER + VALUES
    path.write_bytes(gzip.compress(content, mtime=0) if packed else content)
    expected = [[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 11]]]
    np.testing.assert_array_equal(read_idx(path), np.array(expected, np.uint8))


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a", HEADER + VALUES[:-1], "holds 11 values, and its header says (2, 2, 3): fetch the file again."),
        ("a", HEADER + VALUES + b"\x00", "holds more than 12 values, and its header says (2, 2, 3): fetch the file again."),
        ("a", HEADER[:-1], "is no idx file of unsigned bytes, it begins with 00 00 08 03: fetch the file again."),
        ("a", b"\x00\x00\x0d\x01", "is no idx file of unsigned bytes, it begins with 00 00 0d 01: fetch the file again."),
        ("a", b"", "is no idx file of unsigned bytes, it begins with nothing: fetch the file again."),
        ("a.gz", b"<html>", "is no idx file of unsigned bytes, it begins with 3c 68 74 6d: fetch the file again."),
        ("a.gz", gzip.compress(HEADER + VALUES, mtime=0)[:-9], "cannot be read (Compressed file ended before the end-of-stream marker was reached): fetch the file again."),
    ],
)  # fmt: skip
def test_a_damaged_file_is_one_sentence(tmp_path, name, content, sentence):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"^{re.escape(f'{path} {sentence}')}$"):
        read_idx(path)
