"""Colour images from prepared TFDS data sets, written or mocked by the tests, without TensorFlow."""

from __future__ import annotations

import io
import os
import pathlib
import re
import sys
import zipfile

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image
from prepared_data import describe, write

from vaelab.data import CIFAR10, CIFAR10JPEG, SVHN, CelebA
from vaelab.data.colour import crop_face
from vaelab.data.prepare import DATA_SETS, prepare

DATA = pathlib.Path(
    os.environ.get("VAELAB_DATA") or pathlib.Path(__file__).parents[2] / "../shared/data"
)


@pytest.mark.parametrize("data_set", [CIFAR10, SVHN])
def test_the_original_order_comes_back_and_its_end_is_validation(data_set, tmp_path):
    name = {CIFAR10: "cifar10", SVHN: "svhn_cropped"}[data_set]
    lengths = {"train": [17, 13], "test": [8]}
    folder = describe(tmp_path / "tensorflow_datasets", name, lengths)
    generator = np.random.default_rng(0)
    written = {}
    for split, shards in lengths.items():
        images = generator.integers(256, size=(sum(shards), 32, 32, 3), dtype=np.uint8)
        labels = generator.integers(10, size=len(images))
        features = lambda i, labels=labels: {"id": b"", "label": int(labels[i])}  # noqa: E731
        write(folder, split, list(range(len(images))), images, features, shards)
        written[split] = images, labels
    splits = data_set(num_validation=4).load(str(tmp_path))
    (images, labels), (test_images, test_labels) = written["train"], written["test"]
    for split, expected, expected_labels in (
        (splits.train, images[:26], labels[:26]),
        (splits.validation, images[26:], labels[26:]),
        (splits.test, test_images, test_labels),
    ):
        np.testing.assert_allclose(split.x, expected / 255, rtol=1e-6)
        np.testing.assert_array_equal(split.labels, expected_labels)
        assert split.x.dtype == np.float32
        assert split.labels.dtype == np.int32
    assert "tensorflow" not in sys.modules
    sentence = f"num_validation must lie in 1 to 29, because {name} has 30 training images, got 30."
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        data_set(num_validation=30).load(str(tmp_path))


def test_celeba_comes_cropped_in_the_order_of_its_files(tmp_path):
    first = {"train": 1, "validation": 162_771, "test": 182_638}  # of list_eval_partition.txt
    lengths = {"train": [5, 4], "validation": [6], "test": [6]}
    folder = describe(tmp_path / "tensorflow_datasets", "celeb_a", lengths)
    info = tfds.builder("celeb_a", data_dir=str(tmp_path / "none")).info.features
    others = {
        f"{group}/{name}": 0
        for group in ("landmarks", "attributes", "identity")
        for name in info[group]
    }
    for split, shards in lengths.items():
        grey = np.uint8(20 * np.arange(1, sum(shards) + 1))
        images = np.broadcast_to(grey[:, None, None, None], (sum(shards), 218, 178, 3))
        keys = [f"{first[split] + i:06d}.jpg" for i in range(sum(shards))]
        write(folder, split, keys, np.ascontiguousarray(images), lambda i: others, shards)
    for limit in (None, 5):
        splits = CelebA(limit).load(str(tmp_path))
        for split, shards in zip(splits.parts.values(), lengths.values(), strict=True):
            num_images = min(limit or 9, sum(shards))
            assert split.x.shape == (num_images, 64, 64, 3)
            levels = 20 * np.arange(1, num_images + 1) / 255
            np.testing.assert_allclose(
                split.x, levels[:, None, None, None] + 0 * split.x, rtol=1e-6
            )
            assert split.labels is None


def test_the_crop_is_the_middle_of_the_face():
    row, column = np.mgrid[:218, :178]
    image = np.stack([row, column, 0 * row], axis=-1).astype(np.uint8)
    small = crop_face(image).astype(float)
    # The middle of pixel j of 64 lies at (j + 1/2) 148/64 of the crop, which starts at 35 and 15.
    centre = (np.arange(64) + 0.5) * 148 / 64 - 0.5
    np.testing.assert_allclose(small[..., 0], (35 + centre)[:, None] + 0 * row[:64, :64], atol=0.7)
    np.testing.assert_allclose(small[..., 1], (15 + centre)[None] + 0 * row[:64, :64], atol=0.7)
    assert not small[..., 2].any()


@pytest.mark.parametrize(
    ("data_set", "name", "size"),
    [(CIFAR10(5), "cifar10", 32), (SVHN(5), "svhn_cropped", 32), (CelebA(), "celeb_a", 64)],
)
def test_mocked_data_of_tfds_are_read(data_set, name, size, tmp_path, monkeypatch):
    # TFDS mocks images as pixels. As the bytes of files it mocks them only with TensorFlow.
    monkeypatch.setattr("vaelab.data.tfds_source._skipped_images", lambda features: None)
    splits = ["train", "test"] + ["validation"] * (name == "celeb_a")
    folder = describe(tmp_path / "tensorflow_datasets", name, {split: [20] for split in splits})
    (folder / f"{name}-train.array_record-00000-of-00001").write_bytes(bytes(100))
    policy = tfds.testing.MockPolicy.USE_FILES
    with tfds.testing.mock_data(num_examples=20, policy=policy, data_dir=str(folder)):
        loaded = data_set.load(str(tmp_path))
    expected = [20, 20, 20] if name == "celeb_a" else [15, 5, 20]
    assert [split.x.shape for split in loaded.parts.values()] == [
        (n, size, size, 3) for n in expected
    ]
    assert all(split.x.std() > 0 for split in loaded.parts.values())
    if name != "celeb_a":
        assert all(set(split.labels) <= set(range(10)) for split in loaded.parts.values())


@pytest.mark.parametrize(
    ("data_set", "name"), [(CIFAR10(), "cifar10"), (SVHN(), "svhn_cropped"), (CelebA(), "celeb_a")]
)
def test_missing_data_are_one_sentence(data_set, name, tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "elsewhere"))
    sentence = (
        f"{name}, prepared as array_record, was not found in {tmp_path}/tensorflow_datasets: install "
        f"the extra [tfds] (see README.md) and run python -m vaelab.data.prepare {name}, or name "
        "another folder with --data-dir or $VAELAB_DATA."
    )
    with pytest.raises(FileNotFoundError, match=f"^{re.escape(sentence)}$"):
        data_set.load(str(tmp_path))
    assert name in DATA_SETS


def test_a_colour_data_set_prepared_as_tfrecord_is_refused(tmp_path):
    folder = describe(tmp_path / "tensorflow_datasets", "cifar10", {"train": [1]})
    (folder / "cifar10-train.tfrecord-00000-of-00001").touch()
    with pytest.raises(
        ValueError, match=f"^{re.escape(str(folder))} was prepared in a file format"
    ):
        prepare("cifar10", str(tmp_path))
    with (
        pytest.warns(
            UserWarning, match=f"^{re.escape(str(folder))} is skipped because it was prepared"
        ),
        pytest.raises(
            FileNotFoundError, match=r"^cifar10, prepared as array_record, was not found"
        ),
    ):
        CIFAR10().load(str(tmp_path))


def test_a_damaged_folder_does_not_hide_a_good_one(tmp_path, monkeypatch):
    """The data directory precedes the default folder of TFDS, and newer versions precede older ones."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "default"))
    generator = np.random.default_rng(0)
    folders = [
        describe(tmp_path / root, "cifar10", {"train": [9], "test": [3]})
        for root in ("tensorflow_datasets", "default")
    ]
    values = lambda i: {"id": b"", "label": i % 10}  # noqa: E731
    for folder in folders:
        for split, length in {"train": 9, "test": 3}.items():
            images = generator.integers(256, size=(length, 32, 32, 3), dtype=np.uint8)
            write(folder, split, list(range(length)), images, values, [length])
    good = CIFAR10(2).load(str(tmp_path / "elsewhere"))
    (folders[0] / "cifar10-test.array_record-00000-of-00001").write_bytes(b"cut")
    with pytest.warns(
        UserWarning, match=r"^(.*) cannot be read \(.*\. (.*) is read instead\.$"
    ) as said:
        found = CIFAR10(2).load(str(tmp_path))
    (warning,) = said
    assert str(warning.message).startswith(str(folders[0]))
    assert str(folders[1]) in str(warning.message)
    np.testing.assert_array_equal(found.train.x, good.train.x)


def test_celeba_of_no_images_is_refused():
    with pytest.raises(
        ValueError, match=r"^num_train must be at least 1, or None for all, got 0\.$"
    ):
        CelebA(num_train=0)


def write_jpegs(root: pathlib.Path) -> dict[tuple[str, int], int]:
    """Writes a zip of 2 classes x 20 images of one grey each. The greys by class and number."""
    (root / "cifar10_jpeg").mkdir()
    greys = {}
    with zipfile.ZipFile(root / "cifar10_jpeg/cifar10_test_jpeg.zip", "w") as archive:
        for place, name in enumerate(("truck", "airplane")):
            for number in range(20):
                file = io.BytesIO()
                greys[name, number] = 6 * (20 * place + number)
                grey = np.full((32, 32, 3), greys[name, number], np.uint8)
                Image.fromarray(grey).save(file, format="jpeg", quality=100)
                archive.writestr(f"test/{name}/{number:04d}.jpg", file.getvalue())
    return greys


def test_jpegs_are_split_by_number_and_labelled_alphabetically(tmp_path):
    greys = write_jpegs(tmp_path)
    numbers = (range(16), range(16, 18), range(18, 20))
    for split, part in zip(CIFAR10JPEG().load(str(tmp_path)).parts.values(), numbers, strict=True):
        expected = [greys[name, n] for n in part for name in ("airplane", "truck")]
        np.testing.assert_allclose(255 * split.x.mean(axis=(1, 2, 3)), expected, atol=1)
        np.testing.assert_array_equal(split.labels, [0, 1] * len(part))


@pytest.mark.slow  # decoding them all takes two seconds
@pytest.mark.skipif(not (DATA / "cifar10_jpeg").is_dir(), reason=f"the JPEGs are not in {DATA}")
def test_the_jpegs_of_cifar10_hold_all_classes_alike():
    splits = CIFAR10JPEG().load(str(DATA))
    for split, size in zip(splits.parts.values(), (8_000, 1_000, 1_000), strict=True):
        assert split.x.shape == (size, 32, 32, 3)
        np.testing.assert_array_equal(np.bincount(split.labels), [size // 10] * 10)
    assert 0.4 < splits.train.x.mean() < 0.55  # CIFAR-10's mean is 0.473


def test_missing_jpegs_are_one_sentence(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"^cifar10_jpeg/cifar10_test_jpeg\.zip was not found"
    ):
        CIFAR10JPEG().load(str(tmp_path))
