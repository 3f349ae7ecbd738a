"""Compiled programs on disk."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib

import pytest
from etils import epath

from vaelab.runs import program_cache

CODE = """
import jax
from vaelab import runs
found = []
jax.monitoring.register_event_listener(lambda event, **_: found.append(event.rpartition("/")[2]))
place = runs.keep_programs()
print(jax.jit(lambda x: x @ x + 1)(jax.numpy.ones((4, 4)))[0, 0])
print(place is not None, found.count("cache_hits"), found.count("cache_misses"))
"""


def start(home, **variables: str) -> list[str]:
    environment = os.environ | {
        "XDG_CACHE_HOME": str(home),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PLATFORMS": "cpu",
        **variables,
    }
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    ended = subprocess.run(
        [sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=True
    )
    assert ended.stderr == ""
    value, found = ended.stdout.splitlines()
    assert value == "5.0"
    return found.split()


def test_a_second_process_compiles_nothing_and_prints_nothing(tmp_path):
    kept, hits, misses = start(tmp_path)
    assert (kept, hits) == ("True", "0")
    assert int(misses) > 0
    assert start(tmp_path) == ["True", misses, "0"]
    (folder,) = (tmp_path / "vaelab" / "programs").iterdir()
    assert not folder.stat().st_mode & 0o077
    # A process that is killed while it writes leaves a part of a file.
    for path in folder.glob("*-cache"):
        path.write_bytes(path.read_bytes()[:-10])
    assert start(tmp_path) == ["True", "0", misses]


def test_a_folder_of_others_is_not_used_and_the_cache_can_be_switched_off(tmp_path):
    assert start(tmp_path, JAX_ENABLE_COMPILATION_CACHE="false") == ["False", "0", "0"]
    assert not list(tmp_path.iterdir())
    (tmp_path / "vaelab").write_text("no folder")
    assert start(tmp_path) == ["False", "0", "0"]


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_a_folder_that_others_may_write_to_is_not_used(tmp_path):
    assert program_cache._private(tmp_path)
    tmp_path.chmod(0o777)
    assert not program_cache._private(tmp_path)


def test_tidy_removes_incomplete_files_and_the_oldest_ones(tmp_path):
    whole = zlib.compress(bytes(range(256)) * 10)
    for age in range(4):
        path = tmp_path / f"{age}-cache"
        path.write_bytes(whole)
        os.utime(path, (2e9 - age, 2e9 - age))
    (tmp_path / "0-cache").write_bytes(whole[:-1])
    os.utime(tmp_path / "0-cache", (2e9, 2e9))
    (tmp_path / "zstd-cache").write_bytes(b"\x28\xb5\x2f\xfd")
    os.utime(tmp_path / "zstd-cache", (2e9, 2e9))
    program_cache.tidy(epath.Path(tmp_path), most_bytes=4 * len(whole))
    left = {path.name for path in tmp_path.glob("*-cache")}
    assert left == {"1-cache", "2-cache", "zstd-cache"}
