"""Figure 8 in small: every model trains and is drawn."""

import os
import pathlib

import jax
import pytest

from experiments.fixed_points import micro_mnist

DATA = pathlib.Path(
    os.environ.get("VAELAB_DATA") or pathlib.Path(__file__).parents[1] / "../shared/data"
)


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "mnist").exists(), reason="needs MNIST's files")
def test_constraints_tile_the_latent_space_at_a_lower_rate_than_the_elbo():
    figure, numbers = micro_mnist.posteriors(jax.random.key(0), str(DATA))
    models = numbers["models"]
    assert len(figure.axes) >= len(models) == 4
    assert models["ELBO"]["rate"] > 5 * numbers["log 7"]
    for name, kappa in (("GECO, RE ≤ 0.06", 0.06), ("GECO, RE ≤ 0.1", 0.1)):
        assert models[name]["achieved"]["re"] == pytest.approx(kappa, rel=0.02)
        assert models[name]["rate"] < 1.1 * numbers["log 7"]
