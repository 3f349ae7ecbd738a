"""Malformed and hostile records: config.json and the other small files of a run."""

from __future__ import annotations

import json
import shutil
import sys

import jax
import numpy as np
import pytest
from etils import epath
from hypothesis import strategies as st
from malformed import damaged, for_all, is_sentence, num_inputs, reads_or_refuses
from small import TEST, elbo

from vaelab import data, runs
from vaelab.checks import DamagedFileError, UsageError
from vaelab.cli.calibrate_command import Calibration
from vaelab.runs.config import read_config
from vaelab.runs.files import read_json, read_typed, write_json
from vaelab.runs.identity import plain
from vaelab.runs.loading import run_of
from vaelab.runs.lock import held
from vaelab.runs.measures import Measures
from vaelab.runs.rebuild import UnknownPartError, from_record
from vaelab.runs.record import to_record
from vaelab.runs.report import Report
from vaelab.runs.reporting import read_report
from vaelab.runs.results import Results
from vaelab.runs.sweep_folder import read_sweep
from vaelab.training.metrics import read_metrics, write_metrics

RECORD = plain(to_record(elbo(data=data.Digits())))
NUMBERS = [0, -1, 10**9, 2**70, 10**400, 1e308, float("nan"), True, None]
DOTTED = [
    "os.system", "posix.system", "builtins.eval", "subprocess.Popen", "jax.numpy.load", "jax.config.update",
    "jax.profiler.start_trace", "flax.io.rmtree", "jax._src.xla_bridge.os.popen", "vaelab.runs.train",
    "vaelab.networks.MLP", "vaelab.networks.frozen.save_frozen", "vaelab.cli.main", "vaelab.networks.MLP.__init__",
    "vaelab.networks.MLP.__subclasses__", "vaelab.__builtins__", "vaelab.data.Files", "vaelab.models.VAE",
    "vaelab.priors.VampPrior", "vaelab.training.metrics.MetricsLog", "jax.numpy.tanh", "jax._src.nn.functions.relu",
    "vaelab.runs.Experiment", "vaelab.data.Arrays", "flax.linen.Dense", "", ".", "a", "vaelab", "vaelab.models",
    "float", "class", "function", "partial", "method", "module", "loop", "array", "x" * 3000, "\ud800", "a\nb",
]  # fmt: skip
PLAIN = st.sampled_from([*NUMBERS, "nan", "relu", [], {}, [10**9], [0.5, "x"], *DOTTED])
KEYS = st.sampled_from(["type", "name", "of", "function", "arguments", "keywords", "hidden", "dim", "value", "shape", "x", "path", "model", "encoder"])  # fmt: skip
NODES = st.recursive(
    PLAIN, lambda part: st.lists(part, max_size=3) | st.dictionaries(KEYS, part, max_size=4), max_leaves=8
)  # fmt: skip
NAMED = st.fixed_dictionaries(
    {"type": st.sampled_from(DOTTED)},
    optional={"name": st.sampled_from(DOTTED), "of": NODES, "function": NODES, "arguments": NODES, "keywords": NODES},
)  # fmt: skip


def places(value, path=()):
    """The path of each value in nested dicts and lists."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()  # fmt: skip
    for key, item in items:
        yield from places(item, (*path, key))


@st.composite
def changed(draw, value):
    """Nested JSON values with one to three places that hold something else."""
    value = json.loads(json.dumps(value))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from([p for p in places(value) if p] or [()]))
        if not path:
            return draw(NODES)
        at = value
        for key in path[:-1]:
            at = at[key]
        if draw(st.integers(0, 4)) == 0:
            del at[path[-1]]
        else:
            at[path[-1]] = json.loads(
                json.dumps(draw(NAMED | NODES))
            )  # a copy, to be changed again
    return value


def text(value) -> bytes:
    return json.dumps(value).encode()


# Records.


@num_inputs
def test_records_are_rebuilt_or_refused(num_inputs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    from_record(RECORD)
    modules = set(sys.modules)

    def check(record):
        read = reads_or_refuses(lambda: from_record(record, (), "model"), folder=tmp_path)
        # What it imports as it is used is Linen's; a record imports nothing.
        assert not {"wave", "antigravity", "this"} & (set(sys.modules) - modules)
        return read

    for_all(num_inputs, check, changed(RECORD) | NAMED | NODES)


ACTING = {
    "a function that reads pickles": {"type": "function", "name": "jax.numpy.load"},
    "the same under its own name": {"type": "function", "name": "jax._src.numpy.lax_numpy.load"},
    "a function that starts a trace": {"type": "function", "name": "jax.profiler.start_trace"},
    "a setting of jax": {"type": "function", "name": "jax.config.update"},
    "a class in the place of a function": {"type": "function", "name": "vaelab.networks.MLP"},
    "a function in the place of a class": {"type": "class", "name": "jax.profiler.start_trace"},
    "a class that writes": {"type": "class", "name": "vaelab.training.metrics.MetricsLog"},
    "a function that writes weights": {"type": "function", "name": "vaelab.networks.frozen.save_frozen"},
    "a command": {"type": "vaelab.cli.suite_command.Suite", "suite": "x"},
    "a private name": {"type": "class", "name": "vaelab.networks.MLP.__class__"},
    "a private attribute": {"type": "method", "name": "__class__", "of": {"type": "vaelab.networks.MLP"}},
    "the globals of a function": {
        "type": "method", "name": "__globals__", "of": {"type": "function", "name": "jax.numpy.tanh"},
    },
    "an attribute that is no method": {"type": "method", "name": "hidden", "of": {"type": "vaelab.networks.MLP"}},
    "a partial of nothing": {"type": "partial", "function": 3, "arguments": [], "keywords": {}},
    "a partial of an acting function": {
        "type": "partial", "function": {"type": "class", "name": "jax.profiler.start_trace"},
        "arguments": ["made"], "keywords": {},
    },
    "a type that is a number": {"type": 3},
    "a function without a name": {"type": "function"},
    "a run": {"type": "vaelab.runs.Result", "run": None},
}  # fmt: skip


@pytest.mark.parametrize("part", ACTING.values(), ids=ACTING)
def test_a_record_names_nothing_that_acts(part):
    with pytest.raises(UnknownPartError) as error:
        from_record({"activation": part})
    is_sentence(str(error.value))


def test_a_method_of_a_configuration_comes_back():
    of = plain(to_record(elbo().model.prior))
    method = from_record({"type": "method", "name": "log_prob", "of": of})
    assert method.__func__ is type(elbo().model.prior).log_prob


# Files.


@num_inputs
def test_config_files_are_read_or_refused(num_inputs, short_run, tmp_path):
    whole = json.loads((short_run / "config.json").read_text())
    path = tmp_path / "config.json"

    def accept(config):
        reads_or_refuses(lambda: from_record(config["configuration"]["model"], (), "model"))

    def check(content):
        path.write_bytes(content)
        return reads_or_refuses(lambda: read_config(tmp_path), accept, folder=tmp_path)

    for_all(num_inputs, check, damaged(text(whole)) | changed(whole).map(text))


def test_a_dict_in_the_model_is_one_sentence(short_run, tmp_path):
    """Flax raises a TypeError of many lines, when a compiled function is called."""
    folder = shutil.copytree(short_run, tmp_path / "run")
    config = json.loads((folder / "config.json").read_text())
    config["configuration"]["model"]["encoder"]["log_variance_range"] = {}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        UsageError, match=r"^a field of the model, or of one of its networks, holds a"
    ):
        runs.load(folder)


@pytest.mark.parametrize("num_inputs", [20, pytest.param(1000, marks=pytest.mark.slow)], ids=["some", "all"])  # fmt: skip
def test_runs_of_changed_files_are_loaded_or_refused(num_inputs, short_run, tmp_path):
    folder = shutil.copytree(short_run, tmp_path / "run")
    whole = json.loads((folder / "config.json").read_text())
    key = jax.random.key(0)
    np.save(tmp_path / "x.npy", np.concatenate([TEST] * 3))

    def accept(found):
        if not found.model.conditional:
            reads_or_refuses(lambda: found.sample(key, 2))
            reads_or_refuses(lambda: found.encode(TEST))
        reads_or_refuses(lambda: run_of(found, data_path=str(tmp_path / "x.npy")))

    def check(content):
        (folder / "config.json").write_bytes(content)
        return reads_or_refuses(lambda: runs.load(folder), accept, folder=folder)

    model = changed(whole["configuration"]["model"])
    of_model = model.map(lambda m: whole | {"configuration": whole["configuration"] | {"model": m}})
    for_all(num_inputs, check, (of_model | changed(whole)).map(text))


REPORT = {
    "experiment": "a", "step": 1, "num_steps": 1, "epochs_trained": 1.0, "num_test": 2, "posterior_samples": 1,
    "prior_samples": None, "elbo": {"mean": 1.0, "standard_error": None}, "active_units": [1], "latent_dims": [2],
    "log_likelihood": {"mean": 1.0, "standard_error": 1.0, "num_samples": 1, "effective_sample_size": 1.0,
                       "num_test": 2, "prior_samples": None},
    "rate": {"mean": 1.0, "standard_error": 1.0}, "distortion": {"mean": 1.0, "standard_error": 1.0},
    "learned": {"sigma": 1.0}, "stationarity": None, "constraints": {}, "multipliers": {"re": 1.0}, "bound": "x",
}  # fmt: skip
TYPED = {
    Report: REPORT,
    Calibration: {"experiment": "a", "steps": 3, "fraction": 1.0, "reached": {"re": 1.0}, "kappa": {"re": 2.0}},
    Results: {"table": [{"experiment": "a", "estimates": {"elbo": {"mean": 1.0, "interval": [0.0, 1.0]}}}]},
    float: 12.5,
}  # fmt: skip


@num_inputs
@pytest.mark.parametrize("kind", TYPED, ids=["report", "calibration", "results", "seconds"])
def test_results_are_read_or_refused(num_inputs, kind, tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(text(TYPED[kind]))
    read_typed(kind, path)

    def accept(found):
        if kind is Report:
            assert found.table().row_count

    def check(content):
        path.write_bytes(content)
        read = read_report if kind is Report else lambda path: read_typed(kind, path)
        return reads_or_refuses(lambda: read(path), accept, folder=tmp_path)

    for_all(num_inputs, check, damaged(text(TYPED[kind])) | changed([TYPED[kind]]).map(lambda c: text(c[0] if isinstance(c, list) and c else c)))  # fmt: skip


@num_inputs
def test_sweeps_are_read_or_refused(num_inputs, short_run, tmp_path):
    config = json.loads((short_run / "config.json").read_text())
    sweep = {
        n: config[n] for n in ("version", "experiment", "source", "configuration", "start", "prng")
    }
    sweep["groups"] = [{"members": [{"seed": 0}, {"seed": 1}], "num_steps": 5}]

    def check(content, measures):
        (tmp_path / "sweep.json").write_bytes(content)
        (tmp_path / "measures.json").write_bytes(measures)

        def accept(found):
            for group in found["groups"]:
                assert all(isinstance(member, dict) for member in group["members"])

        reads_or_refuses(lambda: read_typed(list[Measures], tmp_path / "measures.json"))
        return reads_or_refuses(lambda: read_sweep(tmp_path), accept, folder=tmp_path)

    for_all(num_inputs, check, damaged(text(sweep)) | changed(sweep).map(text), NODES.map(text))


@num_inputs
def test_metrics_are_read_line_by_line(num_inputs, tmp_path):
    path = tmp_path / "metrics.jsonl"
    rows = [{"step": 10 * i, "loss": 1.0 / (i + 1), "elbo": float("nan")} for i in range(5)]
    lines = b"".join(text(row) + b"\n" for row in rows)

    def accept(found):
        for row in found:
            assert isinstance(row["step"], int)
            assert all(isinstance(value, int | float) for value in row.values())
        history = runs.History(found).until(20)
        assert all(len(history[name]) for name in history.names)

    def check(content):
        path.write_bytes(content)
        with_warnings = lambda found: accept(found) or whole.append(len(found))  # noqa: E731
        whole = list[int]()
        reads_or_refuses(
            lambda: read_metrics(tmp_path), with_warnings, may_warn="is damaged in line"
        )
        return whole[0] == content.count(b"\n")  # else lines were dropped

    of_row = changed(rows).map(lambda found: b"".join(text(r) + b"\n" for r in found) if isinstance(found, list) else b"")  # fmt: skip
    for_all(num_inputs, check, damaged(lines) | of_row)


@num_inputs
def test_locks_are_taken_over_or_refused(num_inputs, tmp_path):
    folder = tmp_path / "run"
    lock = {"process": 2**31 - 2, "started": "1", "host": "elsewhere", "since": "now"}

    def check(content):
        folder.mkdir(exist_ok=True)
        (folder / "lock.json").write_bytes(content)

        def hold():
            with held(folder):
                pass

        return reads_or_refuses(hold)

    for_all(num_inputs, check, damaged(text(lock)) | changed(lock).map(text))


def test_json_that_is_too_deep_or_has_no_end_is_refused(tmp_path):
    path = tmp_path / "x.json"
    for content in (b"[" * 10**6, b'{"a":' * 10**5, b"[" * 101 + b"]" * 101):
        path.write_bytes(content)
        with pytest.raises(DamagedFileError, match="is damaged"):
            read_json(path)
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(DamagedFileError, match="it is no file"):
        read_json(path)


def test_a_run_whose_record_is_of_another_model_is_refused(short_run, tmp_path):
    folder = shutil.copytree(short_run, tmp_path / "run")
    config = json.loads((folder / "config.json").read_text())
    for hidden in ([5], [10**9], [10**30]):
        config["configuration"]["model"]["encoder"]["trunk"]["hidden"] = hidden
        (folder / "config.json").write_bytes(text(config))
        with pytest.raises(UsageError) as error:
            runs.load(folder)
        is_sentence(str(error.value))


def test_a_file_is_not_written_through_a_link(tmp_path):
    outside, folder = tmp_path / "outside", tmp_path / "run"
    outside.write_text("mine")
    folder.mkdir()
    for name in ("report.json", "metrics.jsonl"):
        (folder / f"{name}.partial").symlink_to(outside)
        (folder / name).symlink_to(outside)
    write_json(epath.Path(folder) / "report.json", 1)
    write_metrics(folder, [{"step": 1}])
    assert outside.read_text() == "mine"
    assert sorted(path.name for path in folder.iterdir()) == ["metrics.jsonl", "report.json"]
