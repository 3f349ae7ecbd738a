"""The source of a prepared TFDS data set. Its metadata are checked before TFDS reads them."""

from __future__ import annotations

import io
import os
from typing import Any

import numpy as np
from etils import epath

from vaelab.data.image_folder import opened_image
from vaelab.untrusted import parse_json, printable, read_whole

# TFDS imports the module of each class that features.json names.
_OF_TFDS = "tensorflow_datasets.core.features."
_NAMES = ("type", "pythonClassName", "python_class_name")
_LARGEST_JSON = 2**24  # bytes


def opened_builder(folder: epath.Path) -> Any:
    """TFDS's reader of a prepared data set, whose features are TFDS's own.

    Raises:
      ValueError: a feature is a class of another module, which would be imported.
      Exception: errors of many kinds, of TFDS.
    """
    import tensorflow_datasets as tfds

    path = folder / "features.json"
    if path.is_file():
        with path.open("rb") as file:
            _check_classes(parse_json(read_whole(file, _LARGEST_JSON)))
    return tfds.builder_from_directory(os.fspath(folder))


def opened_source(folder: epath.Path, split: str) -> Any:
    """The stored examples of a split: `source[place]` is a dict, whose images are bytes for `as_pixels`.

    Raises:
      ValueError: the files cannot hold as many examples as dataset_info.json counts.
      Exception: errors of many kinds, as `opened_builder`.
    """
    builder = opened_builder(folder)
    _check_num_examples(folder, split, builder.info)
    return builder.as_data_source(split=split, decoders=_skipped_images(builder.info.features))


def _check_classes(value: Any) -> None:
    if isinstance(value, list):
        for item in value:
            _check_classes(item)
    if not isinstance(value, dict):
        return
    for name, item in value.items():
        if name in _NAMES and isinstance(item, str) and not item.startswith(_OF_TFDS):
            raise ValueError(
                f"features.json names {printable(item)}, which is not a feature of TFDS"
            )
        _check_classes(item)


def _check_num_examples(folder: epath.Path, split: str, info: Any) -> None:
    """Raises unless the files have at least one byte for each example of the split in dataset_info.json.

    Raises:
      ValueError: the numbers of both.
    """
    num_examples = info.splits[split].num_examples
    num_bytes = sum(path.stat().length for path in folder.glob("*.array_record*"))
    if num_examples > num_bytes:
        raise ValueError(
            f"dataset_info.json counts {num_examples} examples of {split}, and the files have {num_bytes} bytes"
        )


def _skipped_images(features: Any) -> dict[str, Any] | None:
    """TFDS's decoders that leave images as bytes, for `as_pixels`."""
    import tensorflow_datasets as tfds

    def skipped(feature: Any) -> Any:
        if isinstance(feature, tfds.features.Image):
            return tfds.decode.SkipDecoding()
        if isinstance(feature, tfds.features.FeaturesDict):
            return {
                name: part for name in feature if (part := skipped(feature[name])) is not None
            } or None
        return None

    return skipped(features)


def as_pixels(image: Any) -> np.ndarray:
    """The pixels of an image that may be decoded already. [height, width, channels]."""
    if isinstance(image, bytes):
        image = np.asarray(opened_image(io.BytesIO(image)))
        return image[..., None] if image.ndim == 2 else image
    return image
