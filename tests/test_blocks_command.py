"""The study of blocks: which models stand side by side, and what their titles contain."""

from __future__ import annotations

import numpy as np
import pytest
from small_studies import forbid_training, main_of, small

from experiments import blocks, taming
from vaelab import plotting

main = main_of(blocks.Blocks)


def test_a_block_shows_each_objective_and_each_kappa(tmp_path, monkeypatch):
    family = taming.FAMILIES["grey_digits_mlp"]
    family = {key: small(family[key]) for key in ("elbo", "re")}
    monkeypatch.setitem(taming.FAMILIES, "tiny", family)
    drawn = []

    def sample_blocks(given, **kwargs):
        drawn.append(given)
        return plotting.blocks.sample_blocks(given, **kwargs)

    monkeypatch.setattr(plotting, "sample_blocks", sample_blocks)
    argv = ["tiny", "--kappas", "0.1", "0.9", "--num-images", "3", "--seed", "2",
            "--workdir", tmp_path]  # fmt: skip
    assert main(argv) == 0
    elbo, tight, loose = drawn[0]
    assert elbo.title == "ELBO"
    # After 40 steps the tight bound is far away, and the loose bound is met.
    assert tight.title.startswith("PI-GECO, RE ≤ 0.1 (reached 0.")
    assert loose.title == "PI-GECO, RE ≤ 0.9"
    images = family["elbo"].data.load().test.x[:3]
    for block in drawn[0]:
        np.testing.assert_allclose(block.data, images, atol=1e-6)
        assert np.shape(block.reconstructions) == np.shape(block.samples) == images.shape
    assert np.abs(tight.reconstructions - loose.reconstructions).max() > 1e-4
    assert (tmp_path / "blocks.png").stat().st_size > 1000
    forbid_training(monkeypatch)
    assert main(argv) == 0
    np.testing.assert_array_equal(drawn[1][1].samples, tight.samples)


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["nothing"], "there is no family 'nothing'"),
        (["grey_digits_mlp", "--num-images", "0"], "num_images must be at least 1, got 0"),
    ],
)
def test_a_wrong_argument_is_one_sentence(refusal, tmp_path, argv, sentence):
    assert sentence in refusal(*argv, "--workdir", tmp_path / "run", main=main)
    assert not (tmp_path / "run").exists()
