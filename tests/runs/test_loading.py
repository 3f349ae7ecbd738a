"""A trained model from its folder alone: without its data set, its file or anything that a file names."""

from __future__ import annotations

import importlib
import json
import shutil
import sys

import jax
import numpy as np
import pytest
from conftest import files
from small import SHAPE, TEST, TRAIN, VALIDATION, assert_close, bits, elbo, small_model
from small_models import two_level

from vaelab import data, evaluation, runs
from vaelab.checks import UndefinedError, UsageError
from vaelab.evaluation import Subject
from vaelab.likelihoods import BernoulliDecoder, GaussianDecoder
from vaelab.models import ConvDRAW
from vaelab.networks import MLP, ConditionalFlow, ConditionalGaussian, Identity
from vaelab.priors import StandardNormal
from vaelab.runs.loading import run_of
from vaelab.training import Adam

pytestmark = pytest.mark.usefixtures("without_plots")
KEY = jax.random.key(3)


def train(experiment=None, **settings):
    return runs.train(experiment or elbo(), progress=False, **settings)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A result and its folder. To be read, and copied."""
    folder = tmp_path_factory.mktemp("loading") / "run"
    result = train(workdir=folder)
    return result, folder


@pytest.fixture
def folder(trained, tmp_path):
    return shutil.copytree(trained[1], tmp_path / "run")


def edit(folder, change):
    """Changes config.json."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


# What it does.


def test_methods_are_the_models_own_functions(trained):
    result, folder = trained
    loaded = runs.load(folder)
    assert loaded.model == result.model
    bound = result.model.at(result.params)
    encoding = bound.encode(TEST)
    np.testing.assert_allclose(loaded.encode(TEST), bound.level_posterior(encoding, 0).mean(), rtol=1e-6)  # fmt: skip
    z = np.float32([[0.5, -1.0], [0.0, 2.0]])
    np.testing.assert_allclose(loaded.decode(z), bound.decode((z,)).mean(), rtol=1e-6)
    latent_key, x_key = jax.random.split(KEY)
    likelihood = bound.decode(bound.sample_latents(latent_key, 6))
    np.testing.assert_allclose(loaded.sample(KEY, 6), likelihood.mean(), rtol=1e-6)
    drawn = loaded.sample(KEY, 6, mean=False)
    np.testing.assert_array_equal(drawn, likelihood.sample(seed=x_key))
    estimate = loaded.log_likelihood(TEST, KEY, num_samples=7)
    expected = evaluation.log_likelihood(Subject(result.model, result.params, TEST), KEY, num_samples=7)  # fmt: skip
    np.testing.assert_allclose(estimate.log_prob, expected.log_prob, rtol=1e-6)


def test_a_result_is_one_line_without_its_parameters(trained):
    result, folder = trained
    # Encoder: 16 · 4 + 4 and 4 · 4 + 4. Decoder: 2 · 4 + 4 and 4 · 16 + 16.
    assert repr(result) == "Result 'experiment': VAE on Arrays, step 20, 180 parameters"
    assert repr(runs.load(folder)) == "Trained 'experiment': VAE, step 20, 180 parameters"


def test_reconstructions_are_decoded_samples_of_the_posterior(trained):
    """With one code for each example, of the same key."""
    loaded = runs.load(trained[1])
    means = loaded.reconstruct(TEST, key=KEY)
    np.testing.assert_allclose(means, loaded.decode(loaded.encode(TEST, key=KEY)), rtol=1e-5)
    assert not np.allclose(means, loaded.reconstruct(TEST, key=jax.random.key(4)))
    np.testing.assert_array_equal(loaded.reconstruct(TEST), loaded.reconstruct(TEST))


def test_batches_do_not_show_in_codes(trained):
    loaded = runs.load(trained[1])
    np.testing.assert_allclose(loaded.encode(TEST, batch_size=3), loaded.encode(TEST), rtol=1e-6)
    np.testing.assert_array_equal(loaded.encode(TEST.astype(bool)), loaded.encode(TEST))


def test_examples_of_another_shape_are_one_sentence(trained):
    with pytest.raises(UsageError, match=r"\(4, 4, 1\)"):
        runs.load(trained[1]).encode(np.zeros((3, 5, 5, 1), np.float32))
    with pytest.raises(UsageError, match="outside"):
        runs.load(trained[1]).log_likelihood(2 * TEST - 1, KEY)


def test_no_data_set_is_needed(tmp_path):
    """Its file has gone; training again says so, and loading does not."""
    path = tmp_path / "x.npz"
    np.savez(path, x=TRAIN, validation_x=VALIDATION, test_x=TEST)
    result = train(data=data.Files(str(path)), workdir=tmp_path / "run")
    path.unlink()
    moved = shutil.move(tmp_path / "run", tmp_path / "elsewhere")
    loaded = runs.load(moved)
    assert bits(loaded.params) == bits(result.params)
    np.testing.assert_array_equal(loaded.encode(TEST), result.encode(TEST))
    with pytest.raises(UsageError, match=r"x\.npz"):
        train(data=data.Files(str(path)), workdir=moved)


def test_standardised_data_come_back_in_their_own_units(tmp_path):
    rng = np.random.default_rng(1)
    x = rng.normal([100.0, -3.0, 0.0], [10.0, 0.1, 1.0], size=(60, 3)).astype(np.float32)
    model = small_model(
        encoder=ConditionalGaussian(MLP((4,)), dim=2),
        decoder=GaussianDecoder(MLP((4,)), shape=(3,), scale=0.5),
    )
    source = data.Standardised(data.Arrays(x))
    result = train(data=source, model=model, workdir=tmp_path / "run")
    loaded = runs.load(tmp_path / "run")
    scaling = source.load().scaling
    bound = loaded.bound
    np.testing.assert_allclose(loaded.encode(x), bound.encode(scaling.apply(x)).mean(), rtol=1e-4, atol=1e-5)  # fmt: skip
    z = np.zeros((1, 2), np.float32)
    np.testing.assert_allclose(loaded.decode(z), scaling.invert(bound.decode((z,)).mean()), rtol=1e-5)  # fmt: skip
    assert np.abs(loaded.sample(KEY, 50).mean(axis=0) - [100, -3, 0]).max() < 30
    subject = Subject(loaded.model, loaded.params, np.asarray(scaling.apply(x)))
    own = evaluation.log_likelihood(subject, KEY, num_samples=3)
    shift = -np.log(scaling.scale).sum()  # the density of x is that of y divided by the scales
    np.testing.assert_allclose(loaded.log_likelihood(x, KEY, num_samples=3).log_prob, own.log_prob + shift, rtol=1e-4)  # fmt: skip
    report = result.report()
    assert report.data_units == pytest.approx(shift, rel=1e-5)
    assert f"add {report.data_units:.2f} nats for log p(x) in the data's own units" in " ".join(repr(report).split())  # fmt: skip


def test_a_model_of_two_levels_has_two_codes(tmp_path):
    model, x = two_level(StandardNormal(2)), TEST
    result = train(model=model, workdir=tmp_path / "run", num_steps=2, log_every=2)
    loaded = runs.load(tmp_path / "run", modules=[type(model).__module__])
    codes = loaded.encode(x[:5], key=KEY)
    with pytest.raises(
        UndefinedError, match=r"no mean in closed form: pass key=jax.random.key\(0\)"
    ):
        loaded.encode(x[:5])
    assert [z.shape for z in codes] == [(5, dim) for dim in model.latent_dims]
    np.testing.assert_array_equal(codes[1], result.encode(x[:5], key=KEY)[1])
    assert loaded.decode(codes).shape == (5, *SHAPE)
    np.testing.assert_array_equal(loaded.decode(list(codes)), loaded.decode(codes))
    with pytest.raises(UsageError, match="level 0 has 3 codes and level 1 has 2: give the same"):
        loaded.decode([codes[0][:3], codes[1][:2]])
    for level in (2, -1, "top"):
        with pytest.raises(UsageError, match=rf"level must be 0 \(top\) to 1, got {level!r}\."):
            result.plot_latents(level=level)
    with pytest.raises(UsageError, match="pass the module that defines it, as modules="):
        runs.load(tmp_path / "run")


def test_a_conditional_model_takes_its_context(tmp_path):
    decoder = BernoulliDecoder(Identity(), SHAPE)
    model = ConvDRAW(
        decoder, num_steps=1, hidden=2, latent_channels=1, canvas_channels=1, downsample=2,
        context_channels=1,
    )  # fmt: skip
    source = data.Arrays(TRAIN, context=1 - TRAIN)
    train(data=source, model=model, workdir=tmp_path / "run", num_steps=2, log_every=2, num_test=None)  # fmt: skip
    loaded = runs.load(tmp_path / "run")
    context = 1 - TRAIN[:4]
    assert loaded.sample(KEY, 4, context=context).shape == (4, *SHAPE)
    changed = loaded.sample(KEY, 4, context=TRAIN[:4])
    assert not np.allclose(loaded.sample(KEY, 4, context=context), changed)
    assert loaded.reconstruct(TRAIN[:4], context=context).shape == (4, *SHAPE)
    with pytest.raises(UsageError, match="context"):
        loaded.sample(KEY, 4)


def test_a_posterior_without_a_mean_asks_for_a_key(tmp_path):
    encoder = ConditionalFlow(MLP((4,), event_ndims=3), 2, num_layers=2, hidden=(2,))
    result = train(model=small_model(encoder=encoder), num_steps=1, log_every=1)
    with pytest.raises(
        UndefinedError, match=r"no mean in closed form: pass key=jax.random.key\(0\)"
    ):
        result.encode(TEST)
    assert result.encode(TEST, key=KEY).shape == (10, 2)


def test_parameters_survive_an_export(trained, tmp_path):
    result, folder = trained
    runs.load(folder).export(tmp_path / "params.npz")
    params = runs.import_params(tmp_path / "params.npz")
    assert jax.tree.structure(params) == jax.tree.structure(result.params)
    assert bits(params) == bits(result.params)
    assert "decoder/trunk/Dense_0/kernel" in np.load(tmp_path / "params.npz").files


def test_a_saved_result_is_the_folder_of_its_run(trained, tmp_path):
    result, folder = trained
    result.save(tmp_path / "saved")
    assert bits(runs.load(tmp_path / "saved").params) == bits(result.params)
    for name in ("config.json", "metrics.jsonl"):
        assert (tmp_path / "saved" / name).read_text() == (folder / name).read_text()
    longer = train(workdir=tmp_path / "saved", num_steps=40)
    assert bits(longer.state) == bits(train(num_steps=40).state)
    with pytest.raises(UsageError, match="the same run after 40 steps, and this result has 20"):
        result.save(tmp_path / "saved")
    with pytest.raises(UsageError, match="differs in seed"):
        train(seed=3, num_steps=5).save(tmp_path / "saved")


def test_the_newest_parameters_are_there_beside_the_best(tmp_path):
    """With a rate of 0.5 a later validation is worse than the best one."""
    fields = dict(patience=2, optimiser=Adam(0.5), num_steps=100, evaluate_every=5)
    result = train(workdir=tmp_path / "run", **fields)
    assert result.step < result.last_step
    best, newest = (runs.load(tmp_path / "run", parameters=p) for p in ("reported", "newest"))
    assert (best.step, newest.step) == (result.step, result.last_step)
    with pytest.raises(UsageError, match="parameters must be 'reported' or 'newest', got 'best'"):
        runs.load(tmp_path / "run", parameters="best")
    assert bits(best.params) == bits(result.state.best.variables.params)
    assert bits(newest.params) == bits(result.state.variables.params)


def test_averaged_parameters_are_the_reported_ones(tmp_path):
    result = train(workdir=tmp_path / "run", ema_decay=0.9)
    assert bits(runs.load(tmp_path / "run").params) == bits(result.params)
    assert bits(result.params) == bits(result.state.ema.params)
    assert bits(result.params) != bits(result.state.variables.params)


def test_the_experiment_comes_back_from_its_record(tmp_path):
    """With its data set, which the record holds by name."""
    digits = data.Digits(binarisation="none")
    model = small_model().clone(decoder=GaussianDecoder(MLP((4,)), shape=(8, 8, 1)))
    result = train(elbo(data=digits, model=model), workdir=tmp_path / "run")
    run = run_of(runs.load(tmp_path / "run"))
    assert run.experiment == result.run.experiment
    np.testing.assert_array_equal(run.splits.test.x, result.run.splits.test.x)


def test_a_file_stands_in_for_data_that_were_handed_over(folder, trained, tmp_path):
    """The record holds the digest of an array: the file is evaluated whole, in its own order."""
    loaded = runs.load(folder)
    with pytest.raises(UsageError, match=r"Name a file with --data\.$"):
        run_of(loaded)
    np.save(tmp_path / "x.npy", TEST)
    run = run_of(loaded, data_path=str(tmp_path / "x.npy"))
    np.testing.assert_array_equal(run.splits.test.x, TEST)
    assert run.name == f"experiment on {tmp_path / 'x.npy'}"


def test_a_model_can_be_handed_over(folder, trained):
    edit(folder, lambda config: config["configuration"]["model"].update(type="nowhere.Model"))
    with pytest.raises(UsageError, match=r"^model = nowhere\.Model is not part of vaelab"):
        runs.load(folder)
    loaded = runs.load(folder, model=small_model())
    assert_close(loaded.params, trained[0].params, rtol=0)


# What it does not do.

EVIL = {
    "a command": {"type": "function", "name": "os.system"},
    "a command behind a module of vaelab": {"type": "function", "name": "vaelab.runs.lock.os.system"},
    "a process": {"type": "vaelab.runs.config.subprocess.Popen", "args": ["touch", "made"]},
    "a process of jax": {"type": "jax._src.xla_bridge.os.popen", "cmd": "touch made"},
    "a module that is not imported": {"type": "wave.Wave_read", "f": "x"},
    "a module of vaelab's own standard": {"type": "function", "name": "vaelab.runs.files.write_json"},
    "a function that writes": {
        "type": "function",
        "name": "vaelab.training.metrics.write_metrics",
    },
    "a type that writes": {"type": "vaelab.training.metrics.MetricsLog", "directory": "made"},
    "a type that makes a folder": {"type": "vaelab.training.checkpoint.Checkpoints", "directory": "made"},
    "nothing": {"type": "", "a": 1},
    "fields of another type": {"type": "vaelab.networks.MLP", "os": 1},
}  # fmt: skip


@pytest.mark.parametrize("part", EVIL.values(), ids=EVIL)
def test_nothing_is_imported_or_called_because_a_file_names_it(part, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs.load(folder)
    place = lambda config: config["configuration"]["model"]["encoder"]["trunk"]  # noqa: E731
    edit(folder, lambda config: place(config).update(activation=part))
    before = set(sys.modules)
    with pytest.raises(UsageError, match=r"^model\.encoder\.trunk\.activation"):
        runs.load(folder)
    assert set(sys.modules) == before
    assert not (tmp_path / "made").exists()


OWN = """
import os
import flax.linen as nn
import jax.numpy as jnp

SLOPE = {slope}

def bend(x):
    return jnp.where(x > 0, x, SLOPE * x){extra}

class Trunk(nn.Module):
    width: int = 4

    @nn.compact
    def __call__(self, x):
        return bend(nn.Dense(self.width)(x.reshape(*x.shape[:-3], -1)))
"""


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    """Writes and imports the module `own_parts_for_loading`."""
    name = "own_parts_for_loading"
    monkeypatch.syspath_prepend(tmp_path)

    def write(slope=0.1, extra=""):
        (tmp_path / f"{name}.py").write_text(OWN.format(slope=slope, extra=extra))
        sys.modules.pop(name, None)
        importlib.invalidate_caches()
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        return importlib.import_module(name)

    yield write
    sys.modules.pop(name, None)


def test_types_of_ones_own_come_from_the_modules_that_are_named(own_module, tmp_path):
    own = own_module()
    encoder = ConditionalGaussian(own.Trunk(), dim=2)
    result = train(model=small_model(encoder=encoder), num_steps=1, log_every=1, workdir=tmp_path / "run")  # fmt: skip
    sentence = r"^model\.encoder\.trunk = own_parts_for_loading\.Trunk is not part of vaelab: pass"
    with pytest.raises(UsageError, match=sentence):  # although it is imported
        runs.load(tmp_path / "run")
    for modules in ([own], ["own_parts_for_loading"]):
        assert bits(runs.load(tmp_path / "run", modules=modules).params) == bits(result.params)
    edit(tmp_path / "run", lambda c: c["configuration"]["model"]["encoder"]["trunk"].update(width={"type": "function", "name": "own_parts_for_loading.os.system"}))  # fmt: skip
    with pytest.raises(UsageError, match="is not part of"):  # a module that the named one imports
        runs.load(tmp_path / "run", modules=[own])


@pytest.mark.parametrize("change", [dict(extra=" + 0.5"), dict(slope=0.2)], ids=["code", "global"])
def test_a_changed_function_is_refused(change, own_module, tmp_path):
    own = own_module()
    encoder = ConditionalGaussian(MLP((4,), event_ndims=3, activation=own.bend), dim=2)
    train(model=small_model(encoder=encoder), num_steps=1, log_every=1, workdir=tmp_path / "run")
    assert runs.load(tmp_path / "run", modules=[own]).step == 1
    changed = own_module(**change)
    with pytest.raises(UsageError, match=r"own_parts_for_loading\.bend has changed since the run"):
        runs.load(tmp_path / "run", modules=[changed])


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(
        UsageError, match=rf"^{tmp_path} holds no run: there is no config\.json in it"
    ):
        runs.load(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": 1}', '{"version": 2}', "\0", "3"])
def test_a_damaged_config_is_named(content, folder):
    (folder / "config.json").write_text(content)
    with pytest.raises(UsageError, match=rf"{folder}/config\.json"):
        runs.load(folder)


def test_a_run_without_checkpoints_is_named(folder):
    shutil.rmtree(folder / "checkpoints")
    with pytest.raises(UsageError, match="holds no checkpoint that can be read"):
        runs.load(folder)


def test_loading_changes_no_file(folder):
    before = files(folder)
    runs.load(folder).encode(TEST)
    assert files(folder) == before


def test_what_goes_into_a_trained_model_is_checked(trained):
    result, _ = trained
    bad = TEST.copy()
    bad[2, 0, 0, 0] = np.nan
    with pytest.raises(UsageError, match="x holds nan in image 2"):
        result.encode(bad)
    with pytest.raises(
        UsageError, match=r"key must be a JAX key, such as jax.random.key\(0\), got 0"
    ):
        result.sample(0, 5)
    with pytest.warns(UserWarning, match="divided by 255"):
        result.encode((255 * TEST).astype(np.uint8))
