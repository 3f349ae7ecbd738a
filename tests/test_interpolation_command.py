"""The study of interpolation: small models are trained, measured, drawn, and found finished."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image
from small_studies import forbid_training, main_of

from experiments import manifold
from experiments.interpolation import __main__ as command
from experiments.interpolation import families
from experiments.interpolation.measures import ModelMeasures
from experiments.interpolation.paths import KINDS
from vaelab.checks import UsageError
from vaelab.data import pendulum
from vaelab.networks import MLP
from vaelab.runs.files import read_typed
from vaelab.types import Examples

main = main_of(command.Interpolation)

SMALL = ["--num-steps", "20", "--num-seeds", "1", "--num-nodes", "60", "--num-neighbours", "6",
         "--num-pairs", "6", "--num-points", "9", "--prior-samples", "2"]  # fmt: skip


@pytest.fixture
def small(monkeypatch):
    """Two experiments on motion and one on faces, with networks of 8 hidden units."""
    for name, keys in {"motion": ("iwae", "vhp_rewo"), "faces": ("iwae",)}.items():
        smaller = {}
        for key in keys:
            row = manifold.FAMILIES[name][key]
            model = row.model
            trunk = model.encoder.trunk.clone(hidden=(8,))
            smaller[key] = row.with_fields(
                model=model.clone(
                    encoder=model.encoder.clone(trunk=trunk),
                    decoder=model.decoder.clone(trunk=MLP((8,))),
                    prior=model.prior.clone(**{"hidden": (8,), "encoder": None, "decoder": None})
                    if key.startswith("vhp")
                    else model.prior,
                ),
                batch_size=20,
                evaluate_every=10,
                log_every=10,
            )
        monkeypatch.setitem(manifold.FAMILIES, name, smaller)


def test_motion_is_interpolated_and_found_finished(small, tmp_path, monkeypatch, capsys):
    argv = ["motion", *SMALL, "--workdir", tmp_path]
    assert main(argv) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "VHP, REWO" in out
    out = tmp_path / "test"
    models = read_typed(list[ModelMeasures], out / "measures.json")
    assert [model.experiment for model in models] == ["iwae", "vhp_rewo"]
    for model in models:
        assert [path.kind for path in model.paths] == list(KINDS)
        straight, shortest, _, _, decoded, _ = (path.values for path in model.paths)
        # The last kind minimises the length, up to the resampling of its corners.
        assert decoded["decoded length"].mean <= 1.01 * shortest["decoded length"].mean
        assert model.jump_threshold > 1
        assert straight["paths over a bridge, %"].mean == 0
        assert 0 <= model.purity.mean <= 1
    names = {path.name for path in out.iterdir()}
    assert names >= {"measures.png", "latent_spaces_density_path.png", "strips_straight_line.png",
                     "strips.png", "paths.gif", "iwae.json"}  # fmt: skip
    with Image.open(out / "paths.gif") as animation:
        assert animation.n_frames > 1
    forbid_training(monkeypatch)
    assert main(argv) == 0
    assert read_typed(list[ModelMeasures], out / "measures.json") == models


def test_a_folder_of_faces_is_interpolated(small, tmp_path):
    rng = np.random.default_rng(0)
    for index in range(60):
        pixels = rng.integers(0, 255, (12, 10), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
    run = tmp_path / "run"
    assert main(["faces", *SMALL, "--images", tmp_path, "--workdir", run]) == 0
    (first, *_) = read_typed(list[ModelMeasures], run / "test" / "measures.json")
    assert first.purity is None
    assert first.jump_threshold is None
    assert "jumps" not in first.paths[0].values


def test_images_of_two_sizes_are_named(small, tmp_path, refusal):
    for index in range(20):
        name, size = ("b.png", (4, 5)) if index == 19 else (f"a{index:02d}.png", (4, 4))
        Image.fromarray(np.zeros(size, np.uint8)).save(tmp_path / name)
    argv = ["faces", *SMALL, "--images", tmp_path, "--workdir", tmp_path / "run"]
    sentence = refusal(*argv, main=main)
    assert "b.png" in sentence
    assert "set size" in sentence


def test_images_belong_to_faces(tmp_path, refusal):
    assert "got the family motion" in refusal("motion", "--images", tmp_path, main=main)


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--num-points", "2"], "num_points must be at least 3"),
        (["--num-pairs", "1"], "num_pairs must be at least 2"),
        (
            ["--num-nodes", "20"],
            "num_neighbours = 16 must be smaller than the 80% of num_nodes = 20",
        ),
        (["--quantile", "1.5"], "quantile must lie in [0, 1), got 1.5"),
    ],
)
def test_settings_are_refused_before_training(argv, sentence, refusal):
    assert sentence in refusal("motion", *argv, main=main)


def test_pairs_of_motion_join_all_movements_equally_often():
    family = families.of("motion")
    examples = Examples(np.zeros((90, 2)), np.repeat([0, 1, 4], 30))
    pairs = family.pairs(examples, 60, seed=1)
    kinds, counts = np.unique(examples.labels[pairs], axis=0, return_counts=True)
    assert len(kinds) == 6
    assert (counts == 10).all()
    assert (kinds[:, 0] != kinds[:, 1]).all()
    with pytest.raises(UsageError, match="paths join different movements, and the data have one"):
        family.pairs(examples.take(slice(30)), 60, seed=1)


def test_the_angle_error_is_that_of_a_uniform_rotation_in_either_direction():
    family = families.of("pendulum")
    time, ends = np.linspace(0, 1, 21), np.array([[0.3, 1.8], [0.3, 1.8], [6.0, 1.0]])
    turns = np.array([1.5, 1.5 - 2 * np.pi, 1.0 - 6.0 + 2 * np.pi])
    angles = ends[:, :1] + time * turns[:, None]
    images = np.asarray(pendulum(angles.ravel())).reshape(3, 21, -1)
    measured = family.further(images, ends)
    assert (measured["angle error, °"] < 0.2).all()  # the step of the grid is half a degree
    # A pause in the first half of the way, then the way at double speed: half a way behind at most.
    late = np.where(time < 0.5, 0.0, 2 * time - 1) * 1.5 + 0.3
    images = np.asarray(pendulum(late)).reshape(1, 21, -1)
    expected = np.degrees(np.mean(np.abs(late - (0.3 + 1.5 * time))))
    measured = family.further(images, ends[:1])
    assert measured["angle error, °"][0] == pytest.approx(expected, abs=0.3)


def test_every_row_of_a_family_has_the_same_data_and_networks():
    for rows in manifold.FAMILIES.values():
        first, *others = rows.values()
        for other in others:
            assert other.data == first.data
            assert other.model.encoder == first.model.encoder
            assert other.model.decoder == first.model.decoder
            assert dataclasses.replace(
                other, model=first.model, objective=first.objective, dual=first.dual
            ) == dataclasses.replace(first)
