"""The study of all priors on the digits: what it runs, keeps, says and refuses."""

import io
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib import image
from rich.console import Console

from experiments.priors import command, findings, measures, study
from vaelab.training.state import Best, TrainState
from vaelab.types import Examples, Saddle, Splits

SMALL = [
    "--priors", "standard", "--seeds", "2", "--num-steps", "2", "--evaluate-every", "1",
    "--hidden", "4", "--num-samples", "3",
]  # fmt: skip


@pytest.fixture(scope="module")
def hastily():
    """Compiles in a hurry, and treats one prior in all the ways there are, so as to compile little."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "ALTERNATING", ("standard",))
        patch.setattr(findings, "FILMED", "standard")
        patch.setattr(measures, "_NUM_POINTS", 200)
        patch.setattr(measures, "_PIXELS", 20)
        jax.config.update("jax_disable_most_optimizations", True)
        yield
        jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="module")
def finished(hastily, tmp_path_factory):
    """A finished workdir."""
    workdir = tmp_path_factory.mktemp("priors")
    command.main([*SMALL, "--workdir", str(workdir)])
    return workdir


def test_leaves_pictures_and_consistent_results(finished):
    results = json.loads((finished / "results.json").read_text())
    report = results["priors"]["standard"]
    values = {name: np.array(value) for name, value in report.items() if name != "reference"}
    np.testing.assert_allclose(values["elbo"], -values["rate"] - values["distortion"], rtol=1e-5)
    assert all(np.shape(value) in ((2,), ()) for value in values.values())
    assert np.all((values["hole_mass"] >= 0) & (values["hole_mass"] <= 1))
    # Young models: every pixel has 17 values of about the same probability.
    np.testing.assert_allclose(values["nll"], 64 * np.log(17), rtol=0.1)
    best = {name: np.array(value) for name, value in report["reference"].items()}
    assert np.all(best["rate"] <= np.log(300))
    assert np.all(best["rate"] <= values["rate"] + 0.1)
    np.testing.assert_allclose(best["elbo"], -best["rate"] - values["distortion"], atol=0.5)
    # A standard normal prior has no parameters that could be updated less often.
    np.testing.assert_array_equal(
        results["alternating"]["priors"]["standard"]["nll"], values["nll"]
    )
    for name in ("priors", "training"):
        assert image.imread(finished / f"{name}.png").shape[1] > 500


def test_the_same_command_uses_what_is_finished(finished, capsys, monkeypatch):
    before = json.loads((finished / "results.json").read_text())
    monkeypatch.setattr(study, "train", None)  # nothing is trained again
    command.main([*SMALL, "--workdir", str(finished)])
    assert capsys.readouterr().out.count("finished before") == 2
    after = json.loads((finished / "results.json").read_text())
    assert after | {"seconds": 0} == before | {"seconds": 0}


def test_rates_of_a_sampled_prior_share_their_images_and_codes(hastily):
    """Inner networks that start alike for all z are exact: p(z|ζ) = p(z), q(ζ|z) = p(ζ) then."""
    model, key = study.build_model("hierarchical", 4), jax.random.key(0)
    x = np.zeros((5, *study.SHAPE), np.float32)
    params = jax.jit(model.init)(key, x[:1], key)["params"]
    params["prior"] = jax.tree.map(jnp.zeros_like, params["prior"])
    exact = study.Trained(
        model, jax.tree.map(lambda leaf: np.array(leaf)[None], params), np.array([1]), []
    )
    splits = Splits(*[Examples(x, None)] * 3)
    measured = measures.rate_by_inner_samples(exact, splits)
    assert np.shape(measured["rate"]) == (1, len(measures.INNER_SAMPLES))
    np.testing.assert_allclose(measured["excess"], 0, atol=1e-5)
    np.testing.assert_allclose(measured["standard_error"], 0, atol=1e-5)


def test_another_setup_is_trained_anew(finished, monkeypatch):
    def train(*_, **__):
        raise InterruptedError

    monkeypatch.setattr(study, "train", train)
    monkeypatch.setattr(study, "load", lambda: None)
    setup = study.Setup(2, 2, 1, hidden=4, num_samples=4)
    with pytest.raises(InterruptedError):
        command._cached(command.epath.Path(finished), "standard", 1, setup)


def test_each_seed_keeps_its_own_best_parameters():
    def state(step, values):
        variables = Saddle({"w": jnp.array(values)}, {})
        return variables, jnp.int32(step)

    variables, step = state(1, [1.0, 1.0])
    best = Best(jnp.full(2, -jnp.inf), jnp.zeros(2, jnp.int32), variables, {})
    for number, bound in ((1, [0.0, 5.0]), (2, [3.0, 2.0]), (3, [jnp.nan, 5.0])):
        variables, step = state(number, [float(number)] * 2)
        kept = study._keep_best(
            TrainState(step, jax.random.key(0), variables, {}, best), jnp.array(bound)
        )
        best = kept.best
    np.testing.assert_array_equal(best.bound, [3.0, 5.0])
    np.testing.assert_array_equal(best.step, [2, 1])
    np.testing.assert_array_equal(best.variables.params["w"], [2.0, 1.0])


@pytest.mark.parametrize("name", study.PRIORS)
def test_every_prior_has_a_name_and_one_encoder(name):
    assert name in findings.NAMES
    model, key = study.build_model(name, 4), jax.random.key(0)
    x = jnp.zeros((3, *study.SHAPE))
    variables = jax.eval_shape(model.init, key, x, key)
    paths = jax.tree_util.tree_flatten_with_path(variables["params"])[0]
    inside = [path for path, _ in paths if path[0].key == "prior"]
    assert name == "hierarchical" or not any("encoder" in str(path) for path in inside)


def report(nll, **changes):
    default = {
        "nll": nll, "standard_error": [1.0, 2.0], "elbo": [-100.0, -104.0], "rate": [4.0, 4.5],
        "marginal_kl": [0.25, 0.75], "hole_mass": [0.01, 0.03], "step": [700, 800],
    }  # fmt: skip
    return default | changes


def test_tables_and_caption_say_the_numbers():
    inner = {
        "rate": [[5.0, 4.0, 3.5, 3.0]] * 2,
        "excess": [[2.0, 1.0, 0.5, 0.0], [2.2, 1.0, 0.5, 0.0]],
        "standard_error": [[0.2, 0.1, 0.05, 0.0]] * 2,
    }
    joint = {
        "standard": report([97.0, 99.0], reference={"rate": [3.5, 3.5], "elbo": [-99.0, -99.0]}),
        "hierarchical": report([98.0, 98.5], inner_samples=inner),
    }
    console = Console(width=200, record=True, file=io.StringIO())
    for table in findings.tables(joint, {"standard": report([98.0, 100.0])}, 5):
        console.print(table)
    rows = [
        re.split(r"\s{2,}", line.strip())
        for line in console.export_text().splitlines()
        if re.search(r"\d\.\d", line)
    ]
    assert rows == [
        [
            "standard normal",
            "98.0 ± 1.4",
            "−102.0 ± 2.8",
            "4.25 ± 0.35",
            "0.50 ± 0.35",
            "2.0 ± 1.4",
        ],
        ["hierarchical", "98.2 ± 0.4", "−102.0 ± 2.8", "4.25 ± 0.35", "0.50 ± 0.35", "2.0 ± 1.4"],
        ["q(z) as prior*", "−99.0 ± 0.0", "3.50 ± 0.00"],
        ["standard normal", "98.00 ± 1.41", "99.00 ± 1.41"],
        ["1", "5.00 ± 0.00", "2.100 ± 0.200"],
        ["4", "4.00 ± 0.00", "1.000 ± 0.100"],
        ["16", "3.50 ± 0.00", "0.500 ± 0.050"],
        ["64", "3.00 ± 0.00"],
    ]
    text = findings.caption(joint)
    assert "the means span 0.2 nats" in text  # 98.25 − 98
    assert "scatter by 0.9" in text  # (√2 + √2/4)/2
    assert "move all of them by 1.5" in text
    assert "at step 700 to 800" in text


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--priors", "mixtur"], "there is no prior 'mixtur'; the nearest name is 'mixture'."),
        (["--priors", "standard", "--seeds", "0"], "seeds must be positive and finite, got 0"),
    ],
)
def test_what_cannot_be_run_is_refused_in_a_sentence(options, sentence, refusal, tmp_path):
    assert sentence in refusal(*options, "--workdir", tmp_path / "new", main=command.main)
    assert not (tmp_path / "new").exists()
