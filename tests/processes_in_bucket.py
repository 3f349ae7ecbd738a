"""What one process of several does in tests/test_processes_in_bucket.py: it trains in a bucket.

Arguments: a folder, the number of the process, of the processes and of the coordinator's port.
"""

from __future__ import annotations

import json
import pathlib
import sys
import urllib.parse
from collections.abc import Iterator, MutableMapping

import several_processes
from etils.epath import backend
from fsspec.registry import _registry
from object_store import ObjectStore

from vaelab import processes, runs

RUN, SWEEP, MEMBERS = "gs://bucket/run", "gs://bucket/sweep", several_processes.MEMBERS


class Objects(MutableMapping[str, bytes]):
    """The objects of a bucket, which several processes see: files of a folder."""

    def __init__(self, folder: pathlib.Path):
        self._folder = folder
        folder.mkdir(exist_ok=True)

    def _path(self, name: str) -> pathlib.Path:
        return self._folder / urllib.parse.quote(name, safe="")

    def __getitem__(self, name: str) -> bytes:
        try:
            return self._path(name).read_bytes()
        except FileNotFoundError:
            raise KeyError(name) from None

    def __setitem__(self, name: str, content: bytes) -> None:
        partial = self._folder.with_name(f"{self._folder.name}-{processes.count()}-partial")
        partial.write_bytes(content)
        partial.replace(self._path(name))

    def __delitem__(self, name: str) -> None:
        self._path(name).unlink()

    def __iter__(self) -> Iterator[str]:
        return (urllib.parse.unquote(path.name) for path in list(self._folder.iterdir()))

    def __len__(self) -> int:
        return len(list(self))


def open_bucket(folder: pathlib.Path) -> Objects:
    """Makes gs:// the bucket of a folder, for this process."""
    ObjectStore.objects = Objects(folder)  # type: ignore[assignment]
    _registry["gcs"] = ObjectStore
    ObjectStore.clear_instance_cache()
    backend.fsspec_backend._get_filesystem.cache_clear()
    return ObjectStore.objects  # type: ignore[return-value]


def main(folder: str, process: str, num_processes: str, port: str) -> None:
    processes.initialize(f"localhost:{port}", int(num_processes), int(process))
    path = pathlib.Path(folder)
    open_bucket(path / "bucket")
    half = several_processes.experiment(num_steps=25)
    runs.train(half, workdir=RUN, progress=False)
    result = runs.train(several_processes.experiment(), workdir=RUN, progress=False)
    runs.train(half, workdir=SWEEP, members=MEMBERS, progress=False)
    members = runs.train(
        several_processes.experiment(), workdir=SWEEP, members=MEMBERS, progress=False
    )
    output = {
        "run": result.history.rows,
        "members": [member.history.rows for member in members],
    }
    (path / f"{process}.json").write_text(json.dumps(output))


if __name__ == "__main__":
    main(*sys.argv[1:])
