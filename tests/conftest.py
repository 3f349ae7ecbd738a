"""The commands as a user runs them, on networks small enough for tests."""

from __future__ import annotations

import atexit
import fcntl
import functools
import gc
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

from xla_flags import quick_flags

# Most programs of these tests take longer to compile than to run, so this process compiles them quickly.
# The commands that tests start in other processes are compiled like those of users.
os.environ["XLA_FLAGS"] = quick_flags()

import jax
import pytest
from object_store import bucket  # noqa: F401  a fixture

from vaelab import cli
from vaelab.checks import UsageError
from vaelab.runs.identity import generator
from vaelab.runs.programs import Members, Program
from vaelab.runs.workdir import Workdir

# Each run compiles programs of its own, most of which another run has compiled before. All workers of
# pytest-xdist share the programs, and the process that made the folder removes it.
if "VAELAB_TEST_PROGRAMS" not in os.environ:
    os.environ["VAELAB_TEST_PROGRAMS"] = tempfile.mkdtemp(prefix="vaelab-tests-")
    atexit.register(shutil.rmtree, os.environ["VAELAB_TEST_PROGRAMS"], ignore_errors=True)
jax.config.update("jax_compilation_cache_dir", os.environ["VAELAB_TEST_PROGRAMS"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

# A shell starts background jobs with Ctrl-C ignored, which the commands would inherit: tests interrupt them.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = pathlib.Path(__file__).parents[1]


def pytest_collection_finish():
    """Modules stay imported, so the garbage collector need not search them while programs are traced."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def forget_programs():
    """A file's programs are of no use to the next file, and would fill the memory."""
    yield
    jax.clear_caches()


# jax.jit like that of users, for tests of the optimised program, bit for bit.
OPTIMISED = {
    name: value
    for name, value in {
        "xla_backend_optimization_level": 3,
        "xla_cpu_use_fusion_emitters": True,
        "xla_cpu_parallel_codegen_split_count": 32,
    }.items()
    if f"--{name}=" in os.environ["XLA_FLAGS"]
}
optimised_jit = functools.partial(jax.jit, compiler_options=OPTIMISED)

SMALL = [
    "--num-steps", "60", "--log-every", "10", "--evaluate-every", "20", "--batch-size", "80",
    "--num-samples", "50", "--num-test", "20", "--posterior-samples", "2", "--prior-samples", "4",
    "--model.encoder.trunk.hidden", "8", "--model.decoder.trunk.hidden", "8",
    "--model.prior.num-samples", "2",
]  # fmt: skip


class Command:
    """Starts the commands in processes of their own, which share one cache of compiled programs."""

    def __init__(self, cache: pathlib.Path):
        self._cache = cache

    def start(
        self,
        *argv,
        devices: int = 1,
        quick: bool = False,
        cwd: pathlib.Path = ROOT,
        **variables: str,
    ) -> subprocess.Popen:
        """`python argv` on simulated devices, with other environment variables.

        `quick` compiles quickly, as this process does.
        """
        flags = os.environ["XLA_FLAGS"] if quick else ""
        environment = os.environ | {
            "JAX_COMPILATION_CACHE_DIR": str(self._cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": f"{flags} --xla_force_host_platform_device_count={devices}",
            "MPLBACKEND": "agg",
            **variables,
        }
        return subprocess.Popen(
            [sys.executable, *map(str, argv)],
            cwd=cwd,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )

    def __call__(self, *argv, **options) -> subprocess.CompletedProcess:
        process = self.start(*argv, **options)
        try:
            out, err = process.communicate(timeout=300)
        finally:
            process.kill()
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def train(self, workdir, *overrides, **options) -> subprocess.CompletedProcess:
        """The small training that the tests repeat."""
        return self(*self.training(workdir, *overrides), **{"quick": True} | options)

    def start_training(self, workdir, *overrides, **options) -> subprocess.Popen:
        """The same, in the background."""
        return self.start(*self.training(workdir, *overrides), **{"quick": True} | options)

    @staticmethod
    def training(workdir, *overrides) -> list[str]:
        """The command of the small training."""
        command = ["-m", "vaelab", "train", "digits_vhp_rewo"]
        return [*command, *SMALL, "--workdir", str(workdir), *overrides]


@pytest.fixture(scope="session")
def together(tmp_path_factory) -> pathlib.Path:
    """A folder of all workers of pytest-xdist."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session")
def command(tmp_path_factory) -> Command:
    return Command(tmp_path_factory.mktemp("compiled"))


@pytest.fixture(scope="session")
def finished(command, together, tmp_path_factory):
    """The workdir of a run that nothing interrupted. To be read, and copied.

    One worker trains the run, and each worker has a copy.
    """
    trained = together / "finished"
    with open(together / "finished.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not trained.exists():
            result = command.train(together / "unfinished")
            assert result.returncode == 0, result.stderr
            assert not result.stderr
            (together / "unfinished").rename(trained)
    return shutil.copytree(trained, tmp_path_factory.mktemp("finished") / "run")


@pytest.fixture(scope="session")
def short_run(tmp_path_factory) -> pathlib.Path:
    """The folder of a run of five steps, trained in this process. To be copied."""
    from small import elbo

    from vaelab import runs

    folder = tmp_path_factory.mktemp("short") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Workdir, "write_plots", lambda workdir, result: None)
        runs.train(elbo(num_steps=5, evaluate_every=5), workdir=folder, progress=False)
    return folder


@pytest.fixture(scope="module")
def without_plots():
    """Runs in workdirs draw no plots: for tests that are about something else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Workdir, "write_plots", lambda workdir, result: None)
        yield


@pytest.fixture(scope="module")
def shared_programs():
    """Runs of one configuration share their program and their fresh state, for tests of the same runs.

    Seeds are part of a configuration, and so are the shapes of the data.
    """

    def name(program):
        run = program.run
        shapes = jax.tree.map(lambda leaf: (leaf.shape, str(leaf.dtype)), run.splits.train)
        members = [] if program.alone else [dict(member) for member in program.members]
        settings = json.dumps([run.record, members], default=repr)
        return settings, program.alone, repr(shapes), generator()

    def shared(method):
        results = {}

        def call(program, *arguments):
            try:
                key = (*name(program), *arguments)
                hash(key)
            except (UsageError, TypeError):  # no record of the experiment, or given parameters
                return method(program, *arguments)
            if key in results:
                return results[key]
            result = method(program, *arguments)
            if not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(result)):
                results[key] = result
            return result

        return call

    with pytest.MonkeyPatch.context() as patch:
        for kind in (Program, Members):
            for method in ("compile_steps", "initial_state"):
                patch.setattr(kind, method, shared(getattr(kind, method)))
        yield


@pytest.fixture
def refusal(capsys):
    """Runs a command in this process; returns the one sentence it ends with, its exit code 2."""

    def run(*argv, main=None) -> str:
        argv = [str(argument) for argument in argv]
        try:
            code = cli.main(["train", *argv]) if main is None else main(argv)
        except SystemExit as exit_:
            code = exit_.code
        assert code == 2
        error = capsys.readouterr().err
        assert "Traceback" not in error
        if error.startswith("error: "):
            assert error.count("\n") == 1, error
            return error.removeprefix("error: ").rstrip("\n")
        return " ".join(error.translate(dict.fromkeys(map(ord, "╭╮╰╯─│"), " ")).split())

    return run


def files(folder: pathlib.Path) -> dict[str, bytes]:
    """Every file below a folder, by its relative path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
