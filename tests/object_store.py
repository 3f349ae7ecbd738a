"""A bucket in memory, with what an object store has: whole objects by their names, and nothing else."""

from __future__ import annotations

import io
from typing import Any, ClassVar

import pytest
from etils.epath import backend
from fsspec import AbstractFileSystem
from fsspec.registry import _registry


class Killed(BaseException):
    """The process ends here. No handler of errors runs."""


class ObjectStore(AbstractFileSystem):
    """No append (the object is overwritten), no folders, and a rename that copies and then deletes."""

    protocol = ("gcs", "gs")
    cachable = False
    objects: ClassVar[dict[str, bytes]] = {}
    changes_left: ClassVar[float] = float("inf")
    """Changes after which the process is killed."""
    last_name: ClassVar[str | None] = None
    """The process is killed when an object of this name would change."""

    @classmethod
    def _strip_protocol(cls, path: Any) -> str:
        path = path if isinstance(path, str) else str(path)
        return path.split("://", 1)[-1].strip("/")

    @classmethod
    def change(cls, name: str) -> None:
        """Counts one change of the bucket, of the object of this name."""
        if cls.changes_left <= 0 or name == cls.last_name:
            raise Killed
        cls.changes_left -= 1

    def _open(self, path, mode="rb", **kwargs):
        name = self._strip_protocol(path)
        if mode == "rb":
            if name not in self.objects:
                raise FileNotFoundError(path)
            return io.BytesIO(self.objects[name])
        assert mode in ("wb", "ab"), mode
        return _Upload(self, name)

    def info(self, path, **kwargs):
        name = self._strip_protocol(path)
        if name in self.objects:
            return {"name": name, "size": len(self.objects[name]), "type": "file"}
        if any(each.startswith(f"{name}/") for each in self.objects):
            return {"name": name, "size": 0, "type": "directory"}
        raise FileNotFoundError(path)

    def ls(self, path, detail=True, **kwargs):
        name = self._strip_protocol(path)
        below = [each for each in self.objects if each.startswith(f"{name}/")]
        if not below:
            if name not in self.objects:
                raise FileNotFoundError(path)
            below = [name]
        names = {f"{name}/{each[len(name) + 1 :].split('/')[0]}".rstrip("/") for each in below}
        found = [self.info(each) for each in sorted(names)]
        return found if detail else [each["name"] for each in found]

    def cp_file(self, path1, path2, **kwargs):
        source, target = self._strip_protocol(path1), self._strip_protocol(path2)
        self.change(target)
        self.objects[target] = self.objects[source]

    def rm(self, path, recursive=False, maxdepth=None):
        name = self._strip_protocol(path)
        below = [each for each in self.objects if recursive and each.startswith(f"{name}/")]
        found = below + [name] * (name in self.objects)
        if not found:
            raise FileNotFoundError(path)
        for each in found:
            self.change(each)
            del self.objects[each]

    def mkdir(self, path, create_parents=True, **kwargs):
        """Does nothing: there are no folders."""

    def makedirs(self, path, exist_ok=False):
        """Does nothing: there are no folders."""

    def rmdir(self, path):
        """Does nothing: there are no folders."""


class _Upload(io.BytesIO):
    """An object appears when its file is closed, also if an exception closes it."""

    def __init__(self, store: ObjectStore, name: str):
        super().__init__()
        self._store, self._name = store, name

    def close(self):
        if not self.closed:
            content = self.getvalue()
            super().close()
            self._store.change(self._name)
            self._store.objects[self._name] = content


@pytest.fixture
def bucket(monkeypatch):
    """The objects of gs://, by their names: {"bucket/run/config.json": content}."""
    monkeypatch.setattr(ObjectStore, "objects", {})
    monkeypatch.setattr(ObjectStore, "changes_left", float("inf"))
    monkeypatch.setattr(ObjectStore, "last_name", None)
    monkeypatch.setitem(_registry, "gcs", ObjectStore)
    ObjectStore.clear_instance_cache()
    backend.fsspec_backend._get_filesystem.cache_clear()
    yield ObjectStore.objects
    backend.fsspec_backend._get_filesystem.cache_clear()
