"""Prepared TFDS data sets of others: their metadata, and the images in their files."""

from __future__ import annotations

import io
import json
import shutil
import sys
import warnings

import numpy as np
import pytest
from etils import epath
from hypothesis import strategies as st
from malformed import damaged, for_all, num_inputs, reads_or_refuses
from PIL import Image

from vaelab.checks import DamagedFileError
from vaelab.data import TFDS
from vaelab.data.prepared import prepared_folders, prepared_splits, versions
from vaelab.data.prepared_images import PreparedImages

MODULE = "tensorflow_datasets.core.features"
FEATURES = {
    "pythonClassName": f"{MODULE}.features_dict.FeaturesDict",
    "featuresDict": {
        "features": {
            "image": {
                "pythonClassName": f"{MODULE}.image_feature.Image",
                "image": {"dtype": "uint8", "shape": {"dimensions": ["8", "8", "1"]}},
            },
            "label": {
                "pythonClassName": f"{MODULE}.class_label_feature.ClassLabel",
                "classLabel": {"numClasses": "10"},
            },
        }
    },
}
INFO = {
    "name": "toy",
    "version": "3.0.0",
    "fileFormat": "array_record",
    "splits": [
        {
            "name": "train",
            "shardLengths": ["12"],
            "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
        }
    ],
}
IMAGES = np.random.default_rng(0).integers(256, size=(12, 8, 8), dtype=np.uint8)
RECORDS = "toy-train.array_record-00000-of-00001"


def png(array, kind="PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind)
    return file.getvalue()


def write(folder, contents) -> None:
    """An array_record file with an example for each image's bytes."""
    from array_record.python.array_record_module import ArrayRecordWriter
    from tensorflow_datasets.proto import tf_example_pb2

    writer = ArrayRecordWriter(str(folder / RECORDS), "group_size:1")
    for number, content in enumerate(contents):
        example = tf_example_pb2.Example()
        example.features.feature["image"].bytes_list.value.append(content)
        example.features.feature["label"].int64_list.value.append(number % 10)
        writer.write(example.SerializeToString())
    writer.close()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    pytest.importorskip("array_record", reason="array_record is not made for this system")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "none"))
    folder = tmp_path / "tensorflow_datasets/toy/3.0.0"
    folder.mkdir(parents=True)
    (folder / "features.json").write_text(json.dumps(FEATURES))
    (folder / "dataset_info.json").write_text(json.dumps(INFO))
    write(folder, [png(image) for image in IMAGES])
    return folder


def images(folder):
    stream = PreparedImages(epath.Path(folder), "train", key=None)
    return stream.rows(np.arange(stream.num_examples)).x


def test_a_whole_data_set_is_read(folder, tmp_path):
    np.testing.assert_array_equal(images(folder)[..., 0], IMAGES)
    assert len(TFDS("toy").load(str(tmp_path)).train.x) == 10


@num_inputs
def test_metadata_are_read_or_refused(num_inputs, folder, tmp_path):
    names = {"features.json": json.dumps(FEATURES), "dataset_info.json": json.dumps(INFO)}
    swaps = [("12", "99999999999999"), ("12", "-3"), ("uint8", "float64"), ('"8"', '"99999999999"'), ("image_feature", "os"), (MODULE, "wave")]  # fmt: skip

    def check(name, swap, content):
        whole = names[name].encode()
        found = content if swap is None else whole.replace(swap[0].encode(), swap[1].encode())
        (folder / name).write_bytes(found)
        reads_or_refuses(lambda: prepared_splits(folder))
        read = reads_or_refuses(lambda: images(folder), folder=tmp_path)
        (folder / name).write_bytes(whole)
        return read

    def inputs(name):
        content = damaged(names[name].encode())
        return st.tuples(st.just(name), st.none() | st.sampled_from(swaps), content)

    check_all = lambda given: check(*given)  # noqa: E731
    for_all(num_inputs, check_all, st.sampled_from(sorted(names)).flatmap(inputs))


@num_inputs
def test_files_of_records_are_read_or_refused(num_inputs, folder, tmp_path):
    whole = (folder / RECORDS).read_bytes()

    def check(content):
        (folder / RECORDS).write_bytes(content)
        return reads_or_refuses(lambda: images(folder), folder=tmp_path)

    for_all(num_inputs, check, damaged(whole))


@num_inputs
def test_images_of_records_are_read_or_refused(num_inputs, folder):
    others = [png(IMAGES[0], "GIF"), png(IMAGES[0], "BMP"), png(IMAGES[0][:4]), b"", png(np.zeros((8, 8, 3), np.uint8)), b"%!PS-Adobe-3.0 EPSF-3.0\n"]  # fmt: skip

    def check(content):
        write(folder, [png(image) for image in IMAGES[1:]] + [content])
        return reads_or_refuses(lambda: images(folder))

    for_all(num_inputs // 2, check, damaged(png(IMAGES[0])) | st.sampled_from(others))


def test_no_module_is_imported_because_features_name_it(folder, tmp_path, monkeypatch):
    (tmp_path / "module_of_features.py").write_text(f"open({str(tmp_path / 'made')!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("pythonClassName", "type", "python_class_name"):
        hostile = json.loads(json.dumps(FEATURES))
        image = hostile["featuresDict"]["features"]["image"]
        del image["pythonClassName"]
        image[name] = "module_of_features.Image"
        (folder / "features.json").write_text(json.dumps(hostile))
        with pytest.raises(
            DamagedFileError, match=r"names module_of_features\.Image, which is not"
        ):
            images(folder)
    assert "module_of_features" not in sys.modules
    assert not (tmp_path / "made").exists()


def test_more_examples_than_bytes_are_refused(folder):
    info = json.dumps(INFO).replace('"12"', '"999999999999"')
    (folder / "dataset_info.json").write_text(info)
    with pytest.raises(DamagedFileError, match="counts 999999999999 examples of train"):
        images(folder)


def test_folders_with_names_that_are_no_versions_are_passed_over(folder, tmp_path):
    root = folder.parent
    for name in ("².0.0", "1.0.x", "9" * 200 + ".0.0", "3.0.0.incomplete", "-1.0.0"):
        (root / name).mkdir()
    assert [path.name for path in versions(prepared_folders("toy", str(tmp_path))[0].parent)] == [
        "3.0.0"
    ]


def test_an_image_of_another_format_or_of_any_size_is_refused(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write(copy, [png(IMAGES[0], "GIF")] * 12)
        with pytest.raises(DamagedFileError, match="it is no PNG or JPEG image"):
            images(copy)
