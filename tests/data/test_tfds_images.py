"""Prepared TFDS data sets by name, written in the format of TFDS and read without TensorFlow."""

from __future__ import annotations

import json
import re
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from prepared_data import describe, prepare

from vaelab.data import TFDS


def rows(images) -> set[bytes]:
    return {np.rint(255 * image).astype(np.uint8).tobytes() for image in images}


def test_splits_that_are_missing_are_cut_from_train(tmp_path):
    folder, written = prepare(tmp_path, "cifar100", {"train": 30, "test": 8}, (32, 32, 3))
    data_set = TFDS("cifar100", fractions=(0.7, 0.2, 0.1))
    splits = data_set.load(str(tmp_path))
    assert [len(part.x) for part in splits.parts.values()] == [23, 7, 8]
    images, labels = written["train"]
    assert rows(splits.train.x) | rows(splits.validation.x) == rows(images / 255)
    assert rows(splits.test.x) == rows(written["test"][0] / 255)
    label_of = {image.tobytes(): label for image, label in zip(images, labels, strict=True)}
    for image, label in zip(splits.train.x, splits.train.labels, strict=True):
        assert label_of[np.rint(255 * image).astype(np.uint8).tobytes()] == label
    assert splits.train.labels.dtype == np.int32
    assert "tensorflow" not in sys.modules
    again = data_set.load(str(tmp_path))
    np.testing.assert_array_equal(again.validation.x, splits.validation.x)
    assert data_set.title == "TFDS(cifar100)"

    (folder / "cifar100-test.array_record-00000-of-00001").write_bytes(b"cut")
    with pytest.raises(ValueError, match=f"^{re.escape(str(folder))} cannot be read ") as error:
        data_set.load(str(tmp_path))
    assert str(error.value).endswith("delete that folder and prepare the data set again.")


def test_data_that_are_no_images_are_refused(tmp_path):
    folder = describe(tmp_path / "tensorflow_datasets", "cifar100", {"train": [20]})
    (folder / "cifar100-train.array_record-00000-of-00001").write_bytes(bytes(100))
    features = json.loads((folder / "features.json").read_text())
    del features["featuresDict"]["features"]["image"]
    (folder / "features.json").write_text(json.dumps(features))
    policy = tfds.testing.MockPolicy.USE_FILES
    with (
        tfds.testing.mock_data(num_examples=20, policy=policy, data_dir=str(folder)),
        pytest.raises(ValueError, match=r"has no feature image, only coarse_label, id, label"),
    ):
        TFDS("cifar100").load(str(tmp_path))


def test_a_data_set_that_is_not_prepared_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(
        FileNotFoundError, match=r"^kmnist, prepared as array_record, was not found"
    ):
        TFDS("kmnist").load(str(tmp_path))
