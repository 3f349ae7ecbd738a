"""The folder of a run: what it keeps, what makes it evaluate again, and files that are damaged."""

from __future__ import annotations

import json
import shutil

import matplotlib.image
import numpy as np
import pytest
from conftest import files
from etils import epath
from matplotlib.figure import Figure
from small import constrained, elbo
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vaelab import runs
from vaelab.checks import DamagedFileError, UsageError
from vaelab.networks import MLP, ConditionalGaussian
from vaelab.runs.config import ConfigurationError
from vaelab.runs.result import Result
from vaelab.runs.training_files import TrainingFiles


def train(experiment=None, **settings):
    return runs.train(experiment or constrained(), progress=False, **settings)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run in a workdir, with its plots. To be copied."""
    folder = tmp_path_factory.mktemp("workdir") / "run"
    train(workdir=folder, name="mine")
    return folder


@pytest.fixture
def folder(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


def report_of(folder):
    return json.loads((folder / "report.json").read_text())


TRAINED = ("checkpoints", "metrics.jsonl", "tensorboard", "seconds.json")


def trained_files(folder):
    return {name: text for name, text in files(folder).items() if name.startswith(TRAINED)}


def test_unchanged_settings_leave_every_file_as_it_is(folder):
    before = files(folder)
    result = train(workdir=folder, name="mine")
    assert result.last_step == 20
    assert files(folder) == before
    assert "lock.json" not in before


@pytest.mark.parametrize(
    ("changes", "path", "value"),
    [
        ({"num_samples": 7}, ("log_likelihood", "num_samples"), 7),
        ({"num_test": 6}, ("log_likelihood", "num_test"), 6),
        ({"num_test": None}, ("log_likelihood", "num_test"), 10),
        ({"posterior_samples": 3}, ("posterior_samples",), 3),
    ],
    ids=str,
)
def test_another_evaluation_trains_nothing(folder, changes, path, value):
    """The report and its plots are made again; what was trained is untouched."""
    before, plots = trained_files(folder), {p.name for p in folder.glob("*.png")}
    for plot in folder.glob("*.png"):
        plot.write_bytes(b"old")
    train(workdir=folder, name="mine", **changes)
    made = report_of(folder)
    for name in path:
        made = made[name]
    assert made == value
    assert trained_files(folder) == before
    assert {p.name for p in folder.glob("*.png")} == plots
    assert all(p.read_bytes() != b"old" for p in folder.glob("*.png"))
    configuration = json.loads((folder / "config.json").read_text())["configuration"]
    assert configuration.items() >= changes.items()


def test_plots_that_an_interruption_left_out_are_drawn(folder):
    before = files(folder)
    (folder / "training.png").unlink()
    (folder / "samples.png").unlink()
    train(workdir=folder, name="mine")
    assert files(folder) == before


def test_a_plot_that_fails_costs_no_number(folder, monkeypatch):
    def fail(result, level=0, ax=None):
        raise ZeroDivisionError("no plot today")

    monkeypatch.setattr(Result, "plot_latents", fail)
    before = report_of(folder)
    (folder / "report.json").unlink()
    (folder / "latent_space.png").unlink()
    sentence = r"^latent_space\.png could not be drawn \(ZeroDivisionError: no plot today\)\.$"
    with pytest.warns(UserWarning, match=sentence):
        result = train(workdir=folder, name="mine")
    assert report_of(folder) == before
    assert result.report().step == 20
    assert (folder / "training.png").exists()
    assert not (folder / "latent_space.png").exists()


def test_plots_are_images_and_figures(finished):
    names = {"training", "reconstructions", "samples", "latent_space"}
    assert {path.stem for path in finished.glob("*.png")} == names
    for name in names:
        pixels = matplotlib.image.imread(finished / f"{name}.png")
        assert min(pixels.shape[:2]) > 100
        assert pixels[..., :3].std() > 0.01, f"{name}.png is blank"
    result = train(workdir=finished, name="mine")
    assert isinstance(result.plot_curves(), Figure)
    ax = Figure().subplots()
    assert result.plot_samples(ax=ax) is ax.figure


def test_vectors_are_plotted_without_images(tmp_path):
    from vaelab import data
    from vaelab.likelihoods import GaussianDecoder

    x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    model = elbo().model.clone(
        encoder=ConditionalGaussian(MLP((4,)), dim=2),
        decoder=GaussianDecoder(MLP((4,)), shape=(3,)),
    )
    train(elbo(data=data.Arrays(x), model=model, num_steps=2, log_every=2), workdir=tmp_path)
    assert {path.stem for path in tmp_path.glob("*.png")} == {"training", "latent_space"}


def test_metrics_are_one_object_a_line_and_tensorboards_numbers(finished):
    rows = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [5, 10, 10, 15, 20, 20]
    for row in rows:
        if "rate" in row:
            assert row["elbo"] == pytest.approx(-(row["rate"] + row["distortion"]), abs=1e-3)
        else:
            assert row.keys() == {"step", "validation/bound", "validation/elbo"}
    events = EventAccumulator(str(finished / "tensorboard"))
    events.Reload()
    names = {name for row in rows for name in row} - {"step"}
    assert set(events.Tags()["scalars"]) == names
    for name in names:
        expected = [(row["step"], row[name]) for row in rows if name in row]
        assert [event.step for event in events.Scalars(name)] == [step for step, _ in expected]
        values = [event.value for event in events.Scalars(name)]
        np.testing.assert_allclose(values, [value for _, value in expected], rtol=1e-6)


def test_config_json_holds_configuration_and_versions(finished):
    import jax

    config = json.loads((finished / "config.json").read_text())
    assert config["experiment"] == "mine"
    assert config["configuration"]["objective"]["constraints"]["nll"] == {
        "type": "vaelab.constraints.NLL",
        "kappa": 0.5,
    }
    assert config["versions"]["jax"] == jax.__version__
    assert config["prng"] == "threefry2x32"
    assert config["start"] is config["scaling"] is None
    assert config["hardware"]
    assert config["commit"]
    assert not list(finished.rglob("*.partial"))


def test_a_name_and_a_source_may_change(folder):
    """A run whose file was renamed is the same run."""
    before = trained_files(folder)
    train(workdir=folder, name="renamed", source="elsewhere.py")
    config = json.loads((folder / "config.json").read_text())
    assert (config["experiment"], config["source"]) == ("renamed", "elsewhere.py")
    assert trained_files(folder) == before


def test_another_configuration_is_refused_and_changes_nothing(folder):
    before = files(folder)
    with pytest.raises(ConfigurationError) as error:
        train(workdir=folder, seed=3, batch_size=20)
    assert str(error.value) == (
        f"workdir {folder} holds a run of another configuration, which differs in batch_size (10, now "
        "20), seed (0, now 3): choose another workdir."
    )
    assert files(folder) == before


def test_another_generator_of_random_numbers_is_refused(folder):
    """Its numbers would be others."""
    import jax

    with jax.default_prng_impl("rbg"):
        with pytest.raises(ConfigurationError, match=r"differs in prng \(threefry2x32, now rbg\)"):
            train(workdir=folder)
        with pytest.warns(UserWarning, match="the random number generator rbg draws other numbers"):
            train(members=[{"seed": 0}], num_steps=1, log_every=1)


def test_a_mistake_leaves_no_folder(tmp_path):
    for changes in ({"batch_size": 5000}, {"num_test": 1}, {"optimiser": None}):
        with pytest.raises((UsageError, AttributeError)):
            train(workdir=tmp_path / "a" / "run", **changes)
        assert not list(tmp_path.iterdir())


def test_home_is_expanded(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    train(workdir="~/run", num_steps=1, log_every=1)
    assert (tmp_path / "run" / "report.json").exists()
    assert runs.load("~/run").step == 1


# Damage.


def test_a_line_of_zero_bytes_is_dropped_with_a_warning(folder):
    """A crashed machine leaves such lines."""
    before = report_of(folder)
    with (folder / "metrics.jsonl").open("ab") as file:
        file.write(b"\0\0\0\n")
    (folder / "report.json").unlink()
    with pytest.warns(
        UserWarning, match=rf"^{folder}/metrics\.jsonl is damaged in line 7: 1 line will be missing"
    ):
        train(workdir=folder, name="mine")
    assert report_of(folder) == before


@pytest.mark.parametrize("content", ["", "{", "[1]", "{}", '{"step": 1}', "null", "\0\0", "3"])
def test_a_damaged_report_is_named(folder, content):
    (folder / "report.json").write_text(content)
    with pytest.raises(
        DamagedFileError, match=rf"^{folder}/report\.json is damaged \(.*remove the"
    ):
        train(workdir=folder, name="mine")


@pytest.mark.parametrize("content", ["", "{", '"abc"', "[]", "{}", "\0"])
def test_damaged_seconds_are_named(folder, content):
    (folder / "seconds.json").write_text(content)
    with pytest.raises(DamagedFileError, match=rf"^{folder}/seconds\.json is damaged \("):
        train(workdir=folder, name="mine", num_steps=40)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": 1}', '{"version": 2}'])
def test_a_damaged_config_is_named(folder, content):
    (folder / "config.json").write_text(content)
    with pytest.raises(UsageError, match=rf"^{folder}/config\.json (is damaged|was written by)"):
        train(workdir=folder, name="mine")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"version": 1}', '{"version": 2}'])
def test_a_damaged_sweep_is_named(tmp_path, content):
    (tmp_path / "sweep.json").write_text(content)
    with pytest.raises(UsageError, match=rf"^{tmp_path}/sweep\.json (is damaged|was written by)"):
        train(members=[{"seed": 0}], workdir=tmp_path)


def test_seconds_add_up_over_continuations(folder):
    before = TrainingFiles(epath.Path(folder)).seconds
    train(workdir=folder, name="mine", num_steps=40)
    assert TrainingFiles(epath.Path(folder)).seconds > before > 0
