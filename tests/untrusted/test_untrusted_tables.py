"""Malformed csv files, folders of images, and zip files of images."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import strategies as st
from malformed import damaged, for_all, num_inputs, reads_or_refuses
from PIL import Image

from vaelab.checks import DamagedFileError
from vaelab.data import CIFAR10JPEG, Files
from vaelab.data.csv_table import read_csv
from vaelab.data.image_files import read_image_folder

CELLS = st.sampled_from([
    "1", "-2.5", "1e308", "1e999", "nan", "inf", "", " ", "²", "٣", "1_000", "a", "\x00", "\x1b[2J", "=1+1", '"', "0x10",
    "9" * 5000, "a\nb", "x" * 70_000,
])  # fmt: skip
GREY = np.arange(64, dtype=np.uint8).reshape(8, 8)


def image(array=GREY, kind="PNG", **settings) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind, **settings)
    return file.getvalue()


def table(rows) -> bytes:
    quoted = [[f'"{cell}"' if "\n" in cell else cell for cell in row] for row in rows]
    return "\n".join(",".join(row) for row in quoted).encode("utf-8", "surrogatepass")


@num_inputs
def test_csv_files_are_read_or_refused(num_inputs, tmp_path):
    path = tmp_path / "x.csv"

    def accept(found):
        x, labels = found
        assert x.ndim == 2
        assert np.isfinite(x).all()
        assert labels is None or labels.shape == (len(x),)

    def check(content, column):
        path.write_bytes(content)
        warning = "are numbered"
        read = lambda: read_csv(path, label_column=column)  # noqa: E731
        reads_or_refuses(Files(path, label_column=column).load, may_warn=warning)
        return reads_or_refuses(read, accept, folder=tmp_path, may_warn=warning)

    valid = b"a,b,label\n" + b"".join(b"%d.5,%d,%d\n" % (i, i, i % 3) for i in range(20))
    rows = st.lists(st.lists(CELLS, min_size=1, max_size=4), max_size=6).map(table)
    regular = st.integers(1, 3).flatmap(lambda n: st.lists(st.lists(CELLS, min_size=n, max_size=n), max_size=5)).map(table)  # fmt: skip
    column = st.sampled_from([None, "label", "1", "nowhere", "a\nb"])
    for_all(num_inputs, check, damaged(valid) | rows | regular | st.binary(max_size=99), column)


def test_a_table_is_made_only_for_rows_of_one_length(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("1," * 99_999 + "1\n" + "1\n" * 100_000)  # as a table, 80 GB
    with pytest.raises(ValueError, match="line 2 has 1 values, and the first line has 100000"):
        read_csv(path)


@num_inputs
def test_folders_of_images_are_read_or_refused(num_inputs, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "a.png").write_bytes(image())

    def accept(parts):
        assert all(part.x.dtype == np.uint8 and part.x.ndim == 4 for part in parts)

    def check(content, name, size):
        path = folder / name
        path.write_bytes(content)
        read = lambda: read_image_folder([folder], size=size)  # noqa: E731
        done = reads_or_refuses(read, accept, folder=folder)
        path.unlink()
        return done

    colour = np.zeros((8, 8, 3), np.uint8)
    valid = [image(), image(colour), image(kind="JPEG"), image(colour, "JPEG"), image(kind="GIF")]
    valid += [image(kind="PNG", pnginfo=None, bits=1), image(colour, "TIFF"), image(colour, "PPM")]
    valid += [image(kind, format_) for kind, format_ in ((colour, "WEBP"), (GREY, "BMP"))]
    valid += [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n"]
    names = st.sampled_from(["b.png", "b.jpg", "0.jpeg"])
    for_all(num_inputs, check, st.sampled_from(valid).flatmap(damaged), names, st.sampled_from([None, 4]))  # fmt: skip


def png_of_size(width: int, height: int) -> bytes:
    """A PNG file whose header claims a size, with 1 kB of pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(2**20))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")  # fmt: skip


@pytest.mark.parametrize("size", [(9000, 9000), (12000, 12000), (2**31 - 1, 2**31 - 1)])
def test_an_image_that_claims_too_many_pixels_is_not_decoded(size, tmp_path):
    (tmp_path / "a.png").write_bytes(png_of_size(*size))
    sentence = f"^{tmp_path}/a.png cannot be read .*pixels.*: repair or remove it"
    with pytest.raises(DamagedFileError, match=sentence):
        read_image_folder([tmp_path])


def test_other_formats_behind_the_name_of_an_image_are_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(image(kind="GIF"))
    with pytest.raises(
        DamagedFileError, match=r"a\.png cannot be read \(it is no PNG or JPEG image"
    ):
        read_image_folder([tmp_path])


def test_images_that_do_not_fit_into_memory_are_refused_after_the_first(tmp_path, monkeypatch):
    for name in "abcd":
        (tmp_path / f"{name}.png").write_bytes(image())
    monkeypatch.setattr("vaelab.untrusted.host_memory", lambda: 4 * GREY.size)
    with pytest.raises(DamagedFileError, match="it takes 256 bytes, more than half of the memory"):
        read_image_folder([tmp_path])


@num_inputs
def test_zip_files_of_images_are_read_or_refused(num_inputs, tmp_path):
    path = tmp_path / "cifar10_jpeg/cifar10_test_jpeg.zip"
    path.parent.mkdir()
    jpeg = image(np.zeros((32, 32, 3), np.uint8), "JPEG")
    names = ["test/cat/1.jpg", "test/dog/2.jpg", "a.jpg", "../../b/3.jpg", "/etc/c/4.jpg", "x/y\n/5.jpg"]  # fmt: skip
    others = [image(kind="JPEG"), image(kind="GIF"), bytes(2**20), b""]

    def zipped(members):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in dict(members).items():
                archive.writestr(name, content)
        return file.getvalue()

    def check(content):
        path.write_bytes(content)
        return reads_or_refuses(lambda: CIFAR10JPEG().load(str(tmp_path)), folder=tmp_path)

    contents = st.just(jpeg) | damaged(jpeg) | st.sampled_from(others)
    members = st.lists(st.tuples(st.sampled_from(names), contents), max_size=6).map(zipped)
    whole = zipped([(f"test/{kind}/{i}.jpg", jpeg) for kind in ("cat", "dog") for i in range(10)])
    for_all(num_inputs, check, members | damaged(whole))
