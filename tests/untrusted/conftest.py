"""A trained run, for tests that damage its files."""

from __future__ import annotations

import pathlib

import pytest
from small import elbo

from vaelab import runs
from vaelab.runs.workdir import Workdir


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> pathlib.Path:
    """The folder of a short run. To be copied."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Workdir, "write_plots", lambda workdir, result: None)
        runs.train(elbo(num_steps=5, evaluate_every=5), workdir=folder, progress=False)
    return folder
