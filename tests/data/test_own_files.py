"""Files of a user: every format, and every fault with the file's name."""

from __future__ import annotations

import pathlib
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from vaelab import data
from vaelab.checks import UsageError

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(20, 3)).astype(np.float32)
LABELS = np.arange(20)


def joined(splits, field="x"):
    """All rows of the three parts, sorted."""
    parts = [getattr(part, field) for part in splits.parts.values()]
    rows = np.concatenate(parts)
    return rows[np.lexsort(rows.reshape(len(rows), -1).T[::-1])]


def test_npy_and_npz_hold_the_arrays(tmp_path):
    np.save(tmp_path / "x.npy", X)
    np.savez(tmp_path / "x.npz", x=X, labels=LABELS)
    expected = data.Arrays(X, LABELS).load()
    for name in ("x.npy", "x.npz"):
        splits = data.Files(str(tmp_path / name)).load()
        for part in splits.parts:
            np.testing.assert_array_equal(splits.parts[part].x, expected.parts[part].x)
    np.testing.assert_array_equal(splits.train.labels, expected.train.labels)


def test_npz_may_name_its_parts(tmp_path):
    parts = dict(x=X, labels=LABELS, test_x=X[:4], test_labels=LABELS[:4], groups=LABELS // 5)
    np.savez(tmp_path / "x.npz", **parts, validation_x=X[:6])
    splits = data.Files(str(tmp_path / "x.npz")).load()
    np.testing.assert_array_equal(splits.train.x, X)
    np.testing.assert_array_equal(splits.train.groups, LABELS // 5)
    np.testing.assert_array_equal(splits.validation.x, X[:6])
    np.testing.assert_array_equal(splits.test.labels, LABELS[:4])


@pytest.mark.parametrize("header", ["", "a,b,c,kind\n"])
def test_csv_is_a_table_with_or_without_names(header, tmp_path):
    table = np.column_stack([X, LABELS])
    text = "".join(",".join(map(repr, [*row[:3].tolist(), int(row[3])])) + "\n" for row in table)
    (tmp_path / "x.csv").write_text(header + text + "\n")
    column = "kind" if header else "4"
    labelled = data.Files(str(tmp_path / "x.csv"), label_column=column).load()
    plain = data.Files(str(tmp_path / "x.csv")).load()
    np.testing.assert_array_equal(joined(labelled), X[np.lexsort(X.T[::-1])])
    for part in labelled.parts.values():
        assert part.labels.dtype == np.int32
        np.testing.assert_array_equal(part.x, X[part.labels])
    assert plain.train.x.shape == (16, 4)


def angles(tmp_path, label="{}"):
    rows = "".join(f"{i / 3},{label.format(i)}\n" for i in range(20))
    (tmp_path / "x.csv").write_text("a,angle\n" + rows)
    return str(tmp_path / "x.csv")


@pytest.mark.parametrize(
    ("label", "label_type", "dtype"),
    [
        ("{}", None, np.int32),
        (" {} ", None, np.int32),
        ("{}.0", None, np.float32),
        ("{}e0", None, np.float32),
        ("{}", "targets", np.float32),
        ("{}.0", "classes", np.int32),
    ],
)
def test_the_text_or_a_setting_decides_between_classes_and_targets(
    label, label_type, dtype, tmp_path
):
    path = angles(tmp_path, label)
    labels = data.Files(path, label_column="angle", label_type=label_type).load().train.labels
    expected = data.Files(angles(tmp_path), label_column="angle").load().train.labels
    assert labels.dtype == dtype
    np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize(("label_type", "dtype"), [(None, np.int32), ("targets", np.float32)])
def test_labels_of_an_npz_may_be_targets(label_type, dtype, tmp_path):
    np.savez(tmp_path / "x.npz", x=X, labels=LABELS, test_x=X[:2], test_labels=LABELS[:2])
    splits = data.Files(str(tmp_path / "x.npz"), label_type=label_type).load()
    assert splits.train.labels.dtype == splits.test.labels.dtype == dtype


@pytest.mark.parametrize(
    ("label", "settings", "sentence"),
    [
        ("0.5", {"label_type": "classes"}, "{path} has the label 0.5, which is not a class: set label_type to targets."),
        ("-5", {}, "{path}: train.labels holds -5 at example 0: number the classes from 0, or give targets as floats."),
    ],
)  # fmt: skip
def test_labels_that_are_not_classes_are_refused(label, settings, sentence, tmp_path):
    path = angles(tmp_path, label)
    with pytest.raises(ValueError, match=f"^{re.escape(sentence.format(path=path))}"):
        data.Files(path, label_column="angle", **settings).load()


def test_a_label_type_without_labels_is_refused(tmp_path):
    path = angles(tmp_path)
    with pytest.raises(ValueError, match=r"x\.csv has no numeric labels: leave it out\.$"):
        data.Files(path, label_type="classes").load()
    with pytest.raises(ValueError, match=r"^label_type must be classes, targets or None, got 'no'"):
        data.Files(path, label_type="no")


def test_csv_labels_may_be_real_valued(tmp_path):
    (tmp_path / "x.csv").write_text("a,angle\n" + "".join(f"{i},{i / 7}\n" for i in range(20)))
    splits = data.Files(str(tmp_path / "x.csv"), label_column="angle").load()
    assert splits.train.labels.dtype == np.float32
    np.testing.assert_allclose(splits.train.x[:, 0] / 7, splits.train.labels, rtol=1e-6)


@pytest.mark.parametrize(
    ("first", "sentence"),
    [("1,oops", "line 1, column 2 holds 'oops'"), ("0.5,", "line 1, column 2 is empty")],
)
def test_text_in_the_first_row_of_a_csv_is_not_a_column_name(first, sentence, tmp_path):
    (tmp_path / "x.csv").write_text(first + "\n" + "1,2\n" * 19)
    with pytest.raises(ValueError, match=sentence):
        data.Files(str(tmp_path / "x.csv")).load()


def test_a_byte_order_mark_is_skipped(tmp_path):
    (tmp_path / "x.csv").write_text("1,2\n" * 20, encoding="utf-8-sig")
    splits = data.Files(str(tmp_path / "x.csv")).load()
    assert sum(len(part.x) for part in splits.parts.values()) == 20


def images(num=20, shape=(5, 6, 3)):
    return GENERATOR.integers(256, size=(num, *shape), dtype=np.uint8)


def write_images(folder, pixels, suffix=".png"):
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(pixels):
        Image.fromarray(image.squeeze()).save(folder / f"{number:03d}{suffix}")


@pytest.mark.parametrize("shape", [(5, 6, 1), (5, 6, 3)])
def test_a_folder_of_images_is_read(shape, tmp_path):
    pixels = images(shape=shape)
    write_images(tmp_path / "all", pixels)
    splits = data.Files(str(tmp_path / "all")).load()
    found = np.rint(255 * joined(splits)).astype(np.uint8)
    np.testing.assert_array_equal(
        found, pixels[np.lexsort(pixels.reshape(20, -1).astype(float).T[::-1])]
    )
    assert splits.train.labels is None
    assert data.Files(str(tmp_path / "all")).show(splits.test.x).images.shape == (2, *shape)


def test_sub_folders_are_classes_and_parts(tmp_path):
    cats, dogs = images(12), images(12)
    for part in ("train", "test"):
        write_images(tmp_path / part / "dog", dogs)
    write_images(tmp_path / "train" / "cat", cats)
    splits = data.Files(str(tmp_path)).load()
    np.testing.assert_array_equal(splits.test.labels, [1] * 12)
    np.testing.assert_allclose(splits.test.x, dogs / 255, rtol=1e-6)
    labels = np.concatenate([splits.train.labels, splits.validation.labels])
    assert np.bincount(labels).tolist() == [12, 12]
    assert (len(splits.train.x), len(splits.validation.x)) == (21, 3)


def test_images_are_resized_and_grey_ones_join_colour_ones(tmp_path):
    write_images(tmp_path, images(10, (9, 7, 3)))
    write_images(tmp_path, images(3, (5, 6, 1)), ".jpg")
    splits = data.Files(str(tmp_path), size=4).load()
    assert splits.train.x.shape == (10, 4, 4, 3)
    expected = Image.open(tmp_path / "000.png").resize((4, 4), Image.Resampling.BILINEAR)
    distances = abs(joined(splits) * 255 - np.asarray(expected, float)).max(axis=(1, 2, 3))
    assert distances.min() < 1e-3


def test_conversions_are_said_with_the_splits(tmp_path):
    np.save(tmp_path / "x.npy", LABELS[:, None])
    write_images(tmp_path / "images", images())
    said = data.Files(str(tmp_path / "x.npy")).load().conversions
    assert said == ("x is converted from int64 to float32.",)
    assert data.Files(str(tmp_path / "images")).load().conversions == ()


def test_paths_start_at_the_home_folder_and_endings_may_be_capitals(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    np.save(tmp_path / "x.npy", X)
    (tmp_path / "x.npy").rename(tmp_path / "X.NPY")
    for path in ("~/X.NPY", pathlib.Path("~/X.NPY")):
        assert data.Files(path).load().train.x.shape == (16, 3)
    assert data.Files("X.NPY").load("~").train.x.shape == (16, 3)
    monkeypatch.setenv("VAELAB_DATA", "~")
    assert data.Files("X.NPY").load().train.x.shape == (16, 3)


def test_a_path_that_is_too_long_is_one_sentence(tmp_path, monkeypatch):
    """Python 3.12 raises where older versions find nothing."""
    with pytest.raises(ValueError, match=r"^.*a{300}.* (cannot be read|was not found)"):
        data.Files(f"{'a' * 300}.npy").load(str(tmp_path))


def test_a_relative_path_starts_at_the_data_directory(tmp_path):
    (tmp_path / "mine").mkdir()
    np.save(tmp_path / "mine/x.npy", X)
    assert data.Files("mine/x.npy").load(str(tmp_path)).train.x.shape == (16, 3)


def csv(text):
    return lambda folder: (folder / "x.csv").write_text(text)


def two_sizes(folder):
    write_images(folder / "x", images(3))
    Image.new("RGB", (9, 4)).save(folder / "x/wide.png")


def damaged(content, name="x/001.png"):
    def write(folder):
        write_images(folder / "x", images(3))
        path = folder / name
        path.write_bytes(path.read_bytes()[: content] if isinstance(content, int) else content)  # fmt: skip

    return write


def sixteen_bits(folder):
    (folder / "x").mkdir()
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(folder / "x/deep.png")


def beside(folder):
    write_images(folder / "x/cat", images(3))
    shutil.copy(folder / "x/cat/000.png", folder / "x/alone.png")


ROWS = "1,2\n3,4\n5,6\n"


@pytest.mark.parametrize(
    ("write", "name", "sentence"),
    [
        (csv("a,b\n" + ROWS + "7,\n"), "x.csv", "{path}, line 5, column b is empty: put a finite number there, or remove the line."),
        (csv("a,b\n1,two\n"), "x.csv", "{path}, line 2, column b holds 'two': put a finite number there, or remove the line."),
        (csv(ROWS + "7,nan\n"), "x.csv", "{path}, line 4, column 2 holds 'nan': put a finite number there, or remove the line."),
        (csv(ROWS + "7\n"), "x.csv", "{path}, line 4 has 1 values, and the first line has 2: give every row one value for each column."),
        (csv(""), "x.csv", "{path} holds no row of numbers: give it one row for each example."),
        (csv("a,b\n"), "x.csv", "{path} holds no row of numbers: give it one row for each example."),
        (csv(ROWS), "x.csv", "{path}: fractions leave test empty, with 0.1 of 3 examples: give more examples, or a larger fraction."),
        (lambda folder: (folder / "x.csv").write_bytes(b"\xff\xfe\x00"), "x.csv", "{path} cannot be read ("),
        (lambda folder: (folder / "x").mkdir(), "x", "{path} holds no PNG or JPEG files: name a folder with images."),
        (two_sizes, "x", "{path}/wide.png has the size 9x4, and {path}/000.png has 6x5: set size to resize all images to one."),
        (damaged(b""), "x", "{path}/001.png cannot be read (it is no PNG or JPEG image"),
        (damaged(b"<html>"), "x", "{path}/001.png cannot be read (it is no PNG or JPEG image"),
        (damaged(90), "x", "{path}/001.png cannot be read ("),
        (sixteen_bits, "x", "{path}/deep.png cannot be read (pixels of the kind I;16 are not 8-bit): repair or remove it."),
        (beside, "x", "{path} holds images both in sub-folders, which are classes, and beside them, such as alone.png: move it into one of them."),
        (lambda folder: np.savez(folder / "x.npz", y=X), "x.npz", "{path} has an array y, which is not known: name the arrays x, labels, context, groups, validation_x,"),
        (lambda folder: np.savez(folder / "x.npz", labels=LABELS), "x.npz", "{path} has no array x: give the examples this name."),
        (lambda folder: np.savez(folder / "x.npz", x=X, test_x=X[:, :2]), "x.npz", "{path}: test.x holds examples of the shape (2,) and train.x of (3,): give all splits one shape."),
        (lambda folder: np.save(folder / "x.npy", X * np.nan), "x.npy", "{path}: train.x holds nan in example 0"),
        (lambda folder: np.save(folder / "x.npy", X + 1j), "x.npy", "{path}: x must be numbers [N, ...], got complex"),
        (lambda folder: np.save(folder / "x.npy", 10.0 ** np.arange(40)[:, None]), "x.npy", "{path}: x holds 1e+39 in example 39, too large for float32: rescale the data."),
        (lambda folder: np.save(folder / "x.npy", np.array([None])), "x.npy", "{path} holds pickled objects, which vaelab never reads because they can run code: save it as a plain array."),
        (lambda folder: (folder / "x.npy").write_bytes(b""), "x.npy", "{path} is no npy file, it begins with nothing, it is empty: fetch the file again."),
        (lambda folder: (folder / "x.pkl").touch(), "x.pkl", "{path} ends in .pkl, which is not known: give npy, npz, csv, array_record, or a folder of images."),
    ],
)  # fmt: skip
def test_a_fault_is_one_sentence_with_the_files_name(write, name, sentence, tmp_path):
    write(tmp_path)
    expected = sentence.format(path=tmp_path / name)
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}") as error:
        data.Files(str(tmp_path / name)).load()
    assert str(error.value).endswith(".")
    assert "\n" not in str(error.value)


def test_a_missing_label_column_is_named(tmp_path):
    csv("a,b\n" + ROWS)(tmp_path)
    with pytest.raises(
        ValueError, match=r"x\.csv has no column 'c': label_column must be one of a, b\.$"
    ):
        data.Files(str(tmp_path / "x.csv"), label_column="c").load()


@pytest.mark.parametrize("field", ["size", "label_column"])
def test_a_field_that_does_not_apply_is_refused(field, tmp_path):
    np.save(tmp_path / "x.npy", X)
    with pytest.raises(ValueError, match=rf"^{field} is for a .*x\.npy is none: leave it out\.$"):
        data.Files(
            str(tmp_path / "x.npy"), **{field: {"size": 4, "label_column": "a"}[field]}
        ).load()


def test_a_missing_path_is_one_sentence(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"^none was not found, neither from the current folder"
    ):
        data.Files("none").load(str(tmp_path))


def test_names_of_classes_are_numbered_and_said(tmp_path):
    rows = [f"{value},{name}" for value, name in zip(range(20), ["dog", "cat"] * 10, strict=True)]
    (tmp_path / "kinds.csv").write_text("\n".join(["size,kind", *rows]) + "\n")
    files = data.Files(str(tmp_path / "kinds.csv"), label_column="kind")
    with pytest.warns(UserWarning, match=r"classes of column kind are numbered: cat 0, dog 1\.$"):
        examples = files.read()
    np.testing.assert_array_equal(examples.x[:, 0], np.arange(20))
    np.testing.assert_array_equal(examples.labels, [1, 0] * 10)
    with pytest.raises(UsageError, match="has no column 'kidn': label_column must be one of size"):
        data.Files(str(tmp_path / "kinds.csv"), label_column="kidn").read()
    (tmp_path / "mixed.csv").write_text("size,kind\n1,2\n3,dog\n")
    with pytest.raises(UsageError, match="line 3, column kind holds a word, and other lines hold"):
        data.Files(str(tmp_path / "mixed.csv"), label_column="kind").read()
