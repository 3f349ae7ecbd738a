"""The study of hierarchies: small models are trained, measured, drawn, and found finished."""

from __future__ import annotations

import json

import pytest
from small_studies import forbid_training, main_of

from experiments.hierarchy import __main__ as command
from experiments.hierarchy import plots
from experiments.hierarchy.measures import ChainMeasures, LevelMeasures, ModelMeasures, Settings
from vaelab.evaluation import ChainLabels, Estimate, ProbeAccuracy, ResamplingEffect
from vaelab.runs.files import read_typed

main = main_of(command.Hierarchy)

EXPERIMENTS = """
import numpy as np
from two_level import TwoLevel
from experiments.digits import EXPERIMENTS as DIGITS
from vaelab.data import Arrays
from vaelab.likelihoods import BernoulliDecoder
from vaelab.networks import MLP, ConditionalGaussian
from vaelab.priors import StandardNormal

encoder = lambda dim: ConditionalGaussian(MLP((8,), event_ndims=3), dim)
model = TwoLevel(
    encoder(3), encoder(2), ConditionalGaussian(MLP((8,)), 2),
    BernoulliDecoder(MLP((8,)), (8, 8, 1)), StandardNormal(3),
)
flat = DIGITS["digits_vae_elbo"].with_fields(batch_size=20, num_test=50, evaluate_every=20, log_every=20)
unlabelled = Arrays(np.zeros((20, 8, 8, 1), np.float32), test=np.zeros((4, 8, 8, 1), np.float32))
EXPERIMENTS = {
    "flat": flat, "stacked": flat.with_fields(model=model),
    "unlabelled": flat.with_fields(data=unlabelled, num_test=None),
}
"""


@pytest.fixture
def names(tmp_path):
    path = tmp_path / "small_hierarchies.py"
    path.write_text(EXPERIMENTS)
    return lambda *keys: [f"{path}:{key}" for key in keys]


def test_a_model_is_measured_level_by_level_and_found_finished(
    names, tmp_path, monkeypatch, capsys
):
    folder = tmp_path / "run"
    argv = [*names("stacked"), "--num-steps", "20", "--num-chains", "30", "--chain-steps", "1",
            "3", "--num-samples", "2", "--num-train", "300", "--workdir", folder]  # fmt: skip
    assert main(argv) == 0
    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if line.startswith("measuring")] == [
        f"measuring stacked: {what}"
        for what in (
            "classifier of the images",
            "rates and active units",
            "probes",
            "label flips",
            "Gibbs chains",
        )
    ]
    out = " ".join(out.split())
    assert "stacked: ELBO −" in out.replace("ELBO -", "ELBO −")
    stacked = read_typed(ModelMeasures, folder / "stacked" / "levels.json")
    top, bottom = stacked.levels
    assert [(each.name, each.dim, each.level) for each in stacked.levels] == [
        ("top", 3, 0), ("bottom", 2, 1),
    ]  # fmt: skip
    # The likelihood reads the bottom level alone, and the top level alone changes nothing.
    assert top.alone.flip_rate.mean == top.alone.change.mean == 0
    assert top.with_lower.levels == (0, 1)
    assert top.with_lower.change.mean > 0
    assert bottom.alone == bottom.with_lower._replace(levels=(1,))
    assert (top.probe.code, bottom.probe.code) == ("mean of q", "mean of 2 samples of q")
    assert {(each.start, each.levels) for each in stacked.chains} == {
        (start, levels) for start in ("data", "noise") for levels in ((1,), (0, 1))
    }
    for each in stacked.chains:
        assert each.labels.steps == (0, 1, 3)
        assert all(sum(shares) == pytest.approx(1) for shares in each.labels.shares)
    assert stacked.classifier == "a probe of the pixels"
    pictures = {path.relative_to(folder).as_posix() for path in folder.glob("**/*.png")}
    assert pictures >= {
        "comparison.png", "stacked/traversals.png", "stacked/gibbs_bottom.png",
        "stacked/gibbs_all.png",
    }  # fmt: skip
    (model,) = json.loads((folder / "comparison.json").read_text())
    assert model["experiment"] == "stacked"

    forbid_training(monkeypatch)
    # The folder of the trained run is the same model, and has a name of its own.
    (trained,) = (folder / "stacked" / "members").iterdir()
    again = tmp_path / "again"
    assert main([trained, *argv[1:-1], again, "--modules", "two_level"]) == 0
    measured = read_typed(ModelMeasures, again / trained.name / "levels.json")
    assert measured == stacked._replace(experiment=trained.name)
    # Other parameters of the same name and step are measured anew.
    path = again / trained.name / "levels.json"
    path.write_text(path.read_text().replace(measured.params, "of another run"))
    assert main([trained, *argv[1:-1], again, "--modules", "two_level"]) == 0
    assert read_typed(ModelMeasures, path) == measured
    capsys.readouterr()

    monkeypatch.setattr(command, "measure", None)  # nothing is measured again
    assert main(argv) == 0
    assert " ".join(capsys.readouterr().out.split()) == out[out.index("Levels, on the test part") :]


@pytest.mark.parametrize(
    ("keys", "argv", "sentence"),
    [
        (["flat"], ["--num-chains", "0"], "num_chains must be at least 1, got 0"),
        (["flat"], ["--chain-steps", "0", "2"], "chain_steps must be at least 1, got 0"),
        (["flat"], ["--chain-steps", "2", "2"], "chain_steps must be increasing, got (2, 2)"),
        (["flat", "flat"], [], "experiments must have different names"),
        (["flat", "unlabelled"], [], "flat and unlabelled have different data"),
        (["unlabelled"], [], "the data have no labels: choose data with classes"),
    ],
)
def test_a_wrong_argument_is_one_sentence(names, refusal, tmp_path, keys, argv, sentence):
    assert sentence in refusal(*names(*keys), *argv, "--workdir", tmp_path / "run", main=main)
    assert not (tmp_path / "run").exists()


def test_models_with_different_levels_stand_side_by_side():
    """Levels are matched by their names, and a level that a model does not have is empty."""
    estimate = Estimate(0.5, 0.01)
    other = Estimate(0.25, 0.01)
    labels = ChainLabels((0,), [[1.0]], [1.0], [1.0], [estimate], [other], estimate, 0, 0.9)
    effect = ResamplingEffect((0,), estimate, estimate)

    def model(name, *levels):
        measured = [
            LevelMeasures(index, level, level, 2, 1, estimate, probe, probe, effect, effect)
            for index, (level, accuracy) in enumerate(levels)
            for probe in [ProbeAccuracy(Estimate(accuracy, 0.01), 0.1, "mean of q", 9, 9)]
        ]
        settings = Settings("test", None, 1, 1, (1,), None, 0)
        chains = [ChainMeasures("bottom", (0,), "data", labels)]
        return ModelMeasures(name, 1, 1, settings, estimate, "", 1, measured, chains)

    good = model("vlae", ("top", 0.7), ("2", 0.6), ("bottom", 0.3))
    bad = model("stacked", ("top", 0.1), ("bottom", 0.9))
    assert (good.order, bad.order) == ("increase", "do not increase")
    close = model("close", ("top", 0.7), ("bottom", 0.68))
    assert close.order == "do not increase beyond their errors"
    assert "It is unsure of 100 % of the data" in command.sentence(good)
    assert "Probe accuracies do not increase from bottom to top" in command.sentence(bad)
    flat = model("flat", ("all", 0.8))
    table = command.levels_table([bad, good, flat])
    cells = [list(column.cells) for column in table.columns]
    rows = [[cell.plain for cell in row] for row in zip(*cells, strict=True)]
    assert [row[1:] for row in rows[8:12]] == [
        ["bottom", "90.0 ± 1.0", "30.0 ± 1.0", ""],
        ["2", "", "60.0 ± 1.0", ""],
        ["top", "10.0 ± 1.0", "70.0 ± 1.0", ""],
        ["all", "", "", "80.0 ± 1.0"],
    ]
    first, _, *others = command.chains_table([bad, good]).columns
    assert [cell.plain for cell in first.cells] == [
        "bottom",
        "samples of the model",
        "N labels drawn from the data",
        "unclear images: data, samples of the model",
    ]
    # In parentheses: the distance from the labels of the model's own samples.
    assert [next(iter(column.cells)).plain for column in others] == ["0.500 ± 0.010 (0.250)"] * 2
    assert len(plots.comparison([good, bad]).axes) == 4
