"""What all studies share."""

from __future__ import annotations

import pytest
from small_studies import main_of

from experiments.blocks import Blocks
from experiments.equal_error import EqualError
from experiments.fixed_points.__main__ import FixedPoints
from experiments.hierarchy.__main__ import Hierarchy
from experiments.priors.__main__ import Priors
from experiments.stability import Stability

STUDIES = {
    Blocks: ["grey_digits_mlp"],
    EqualError: ["grey_digits_mlp_re", "grey_digits_mlp_elbo"],
    FixedPoints: [],
    Hierarchy: [],
    Priors: [],
    Stability: ["grey_digits_mlp"],
}


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.__name__)
def test_no_study_takes_zero_steps(study, refusal, tmp_path):
    argv = [*STUDIES[study], "--num-steps", "0", "--workdir", tmp_path / "run"]
    assert "num_steps must be at least 1, got 0" in refusal(*argv, main=main_of(study))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.__name__)
def test_help_of_a_study_names_one_default_for_each_shared_option(study, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    assert main_of(study)(["--help"]) == 0
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for words in (
        "Folder of all results. (default: a folder in runs/ with the study's name)",
        "Training steps of each model. (default: the number of its experiment)",
        "Folder of the data files. (default: $VAELAB_DATA, else ~/.cache/vaelab)",
    ):
        assert words in text
