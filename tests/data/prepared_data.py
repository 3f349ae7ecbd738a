"""Data sets as TFDS prepares them, written without TensorFlow."""

from __future__ import annotations

import hashlib
import io
import json
import pathlib

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

GENERATOR = np.random.default_rng(0)


def describe(root: pathlib.Path, name: str, lengths: dict[str, list[int]]) -> pathlib.Path:
    """Writes the metadata of TFDS's own builder of `name`, with the lengths of the shards of each split."""
    builder = tfds.builder(name, data_dir=str(root), file_format="array_record")
    folder = pathlib.Path(builder.data_dir)
    folder.mkdir(parents=True)
    builder.info.write_to_directory(str(folder))
    info = json.loads((folder / "dataset_info.json").read_text())
    info["splits"] = [
        {
            "name": split,
            "shardLengths": [str(length) for length in shards],
            "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
        }
        for split, shards in lengths.items()
    ]
    (folder / "dataset_info.json").write_text(json.dumps(info))
    return folder


def write(
    folder: pathlib.Path, split: str, keys: list, images, features, lengths: list[int]
) -> None:
    """Writes examples in the order of TFDS 4, md5(split + key), cut into shards of these lengths."""
    pytest.importorskip("array_record", reason="array_record is not made for this system")
    from array_record.python.array_record_module import ArrayRecordWriter
    from tensorflow_datasets.proto import tf_example_pb2

    order = sorted(
        range(len(keys)),
        key=lambda i: int(hashlib.md5(f"{split}{keys[i]}".encode()).hexdigest(), 16),
    )
    stop = 0
    for shard, length in enumerate(lengths):
        name = f"{folder.parent.name}-{split}.array_record-{shard:05d}-of-{len(lengths):05d}"
        writer = ArrayRecordWriter(str(folder / name), "group_size:1")
        start, stop = stop, stop + length
        for i in order[start:stop]:
            example = tf_example_pb2.Example()
            file = io.BytesIO()
            Image.fromarray(images[i]).save(file, format="png")
            example.features.feature["image"].bytes_list.value.append(file.getvalue())
            for feature, value in features(i).items():
                kind = "bytes_list" if isinstance(value, bytes) else "int64_list"
                getattr(example.features.feature[feature], kind).value.append(value)
            writer.write(example.SerializeToString())
        writer.close()


def prepare(tmp_path, name, lengths, shape):
    """Writes random images and labels. Returns {split: (images, labels)} in the stored order."""
    folder = describe(tmp_path / "tensorflow_datasets", name, {k: [n] for k, n in lengths.items()})
    written = {}
    for split, length in lengths.items():
        images = GENERATOR.integers(256, size=(length, *shape), dtype=np.uint8)
        labels = GENERATOR.integers(10, size=length)
        values = lambda i, labels=labels: (  # noqa: E731
            {"id": b"", "label": int(labels[i]), "coarse_label": 0}
        )
        write(folder, split, list(range(length)), images, values, [length])
        written[split] = images, labels
    return folder, written
