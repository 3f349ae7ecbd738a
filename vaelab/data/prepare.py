"""Prepares a TFDS data set once, so that vaelab can read it without TensorFlow from then on.

    python -m vaelab.data.prepare mnist
    python -m vaelab.data.prepare fashion_mnist --manual-dir folder/with/the/idx/files
    python -m vaelab.data.prepare celeb_a --manual-dir folder/with/the/downloads

CelebA's servers often refuse a download; what a browser fetched is taken from the manual folder.
This is the one place that needs TensorFlow: python -m pip install -e ".[tfds]".
"""

from __future__ import annotations

import argparse
import difflib
import importlib.util
import os

from etils import epath

from vaelab.checks import MissingFileError, MissingPackageError, UsageError
from vaelab.data.files import data_directory
from vaelab.data.prepared import OTHER_FORMAT, PREPARE_AGAIN, is_readable, versions

DATA_SETS = (
    "mnist",
    "fashion_mnist",
    "cifar10",
    "svhn_cropped",
    "celeb_a",
)  # with a class of their own


def prepare(name: str, data_dir: str | None = None, manual_dir: str | None = None) -> epath.Path:
    """Downloads `name` and writes it as array_record below the data directory's tensorflow_datasets.

    Args:
      name: one of `DATA_SETS`, or any other image data set of TFDS, which `data.TFDS(name)` reads.
      data_dir: the data directory; without it $VAELAB_DATA, else ~/.cache/vaelab.
      manual_dir: a folder with the original files, taken from there instead of downloaded.

    Returns:
      The folder of the prepared data set.

    Raises:
      UsageError: an unknown data set, or one that is already there in another file format.
      MissingFileError: `manual_dir` does not exist.
      ImportError: TensorFlow is not installed.

    >>> prepare("minst")
    Traceback (most recent call last):
    ...
    UsageError: TFDS has no data set 'minst'; the nearest name is 'mnist'.
    """
    if name not in DATA_SETS and name not in (known := _known()):
        nearest = difflib.get_close_matches(name, known, 1, cutoff=0.0)[0]
        raise UsageError(f"TFDS has no data set {name!r}; the nearest name is {nearest!r}.")
    if manual_dir is not None and not epath.Path(manual_dir).is_dir():
        raise MissingFileError(
            f"manual_dir {manual_dir} is not a folder: name the one that holds the original files of "
            f"{name}, or leave it out to download them."
        )
    root = data_directory(data_dir) / "tensorflow_datasets"
    for folder in versions(root / name):
        if not is_readable(folder):
            raise UsageError(f"{folder} {OTHER_FORMAT}: {PREPARE_AGAIN}.")
    if importlib.util.find_spec("tensorflow") is None:
        raise MissingPackageError(
            f"preparing {name} needs TensorFlow, which is not installed: run "
            'python -m pip install -e ".[tfds]".'
        )
    import tensorflow_datasets as tfds

    builder = tfds.builder(name, data_dir=os.fspath(root), file_format="array_record")
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=manual_dir)
    )
    return epath.Path(builder.data_dir)


def _known() -> list[str]:
    """The names of all data sets in TFDS."""
    import tensorflow_datasets as tfds

    return tfds.list_builders(with_community_datasets=False)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m vaelab.data.prepare",
        description="Prepare a TFDS data set once; vaelab then reads it without TensorFlow.",
    )
    parser.add_argument("name", help=f"the data set: {', '.join(DATA_SETS)}, or any of TFDS")
    parser.add_argument("--data-dir", help="default: $VAELAB_DATA, else ~/.cache/vaelab")
    parser.add_argument("--manual-dir", help="take the original files from here: no download")
    arguments = parser.parse_args()
    try:
        folder = prepare(arguments.name, arguments.data_dir, arguments.manual_dir)
    except UsageError as error:
        parser.error(str(error))
    print(f"{arguments.name} is prepared in {folder}.")


if __name__ == "__main__":
    main()
