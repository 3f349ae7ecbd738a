"""The study of compile time: each round compiles."""

from __future__ import annotations

import json

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache
from small_studies import main_of

from experiments.compile_time import CompileTime

main = main_of(CompileTime)


@pytest.fixture
def programs(tmp_path):
    """A folder in which JAX keeps all programs."""
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "programs"))
    compilation_cache.reset_cache()
    yield tmp_path / "programs"
    jax.config.update("jax_compilation_cache_dir", before)
    compilation_cache.reset_cache()


def test_no_round_reads_programs_from_a_folder(programs, tmp_path):
    """Nothing is kept, so nothing is read."""
    argv = ["--levels", "2", "--rounds", "2", "--no-unrolled", "--workdir", tmp_path / "run"]
    assert main(argv) == 0
    measured = json.loads((tmp_path / "run" / "compile_time.json").read_text())["seconds"]
    assert len(measured["scanned"]["2"]) == 2
    assert (tmp_path / "run" / "compile_time.png").exists()
    assert not list(programs.glob("jit_step*"))
    jax.jit(lambda x: x + 1)(1.0)  # the folder is in use again
    assert list(programs.glob("jit_*"))


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--levels", "1"], "levels must be at least 2, got 1"),
        (["--rounds", "0"], "rounds must be at least 1, got 0"),
    ],
)
def test_a_wrong_argument_is_one_sentence(refusal, argv, sentence):
    assert sentence in refusal(*argv, main=main)
