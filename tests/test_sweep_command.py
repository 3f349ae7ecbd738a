"""The command experiments.sweep: its members are runs of their own, and it can be interrupted."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from experiments import command_line
from experiments.sweep import command as sweep
from experiments.sweep import measures
from experiments.sweep.members import Sweep, at
from vaelab.runs.run import Run
from vaelab.training import population
from vaelab.training.sharding import make_mesh, replicate
from vaelab.training.step import train_steps

SMALL = [
    "--model.encoder.trunk.hidden", "8", "--model.decoder.trunk.hidden", "8",
    "--model.prior.num-samples", "2", "--batch-size", "20", "--posterior-samples", "2",
    "--prior-samples", "2", "--num-test", "20",
]  # fmt: skip
AXES = ["--kappas", "0.3", "--learning-rates", "5e-4", "2e-3", "--seeds", "2"]
LENGTH = ["--num-steps", "40", "--log-every", "10", "--evaluate-every", "20"]
NAME = "digits_vhp_geco"


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """The workdir of a finished sweep of four members."""
    folder = tmp_path_factory.mktemp("sweep") / "run"
    sweep.main([NAME, *AXES, "--workdir", str(folder), *SMALL, *LENGTH])
    return epath.Path(folder)


def test_it_leaves_a_row_for_each_member(swept):
    rows = measures.read_csv(swept / "sweep.csv")
    values = [(row["learning_rate"], row["seed"]) for row in rows]
    assert values == [(5e-4, 0), (5e-4, 1), (2e-3, 0), (2e-3, 1)]
    for row in rows:
        assert row["elbo"] == pytest.approx(-(row["rate"] + row["distortion"]), abs=1e-3)
        assert row["nll_kappa"] == row["kappa"]
        assert row["nll_test"] == pytest.approx(row["distortion"] / 64, rel=1e-4)
        assert row["step"] == 40
    assert len({row["elbo"] for row in rows}) == 4
    for picture in ("information_plane.png", "trajectory.png"):
        assert (swept / picture).stat().length > 1000


def test_a_second_start_finds_it_finished(swept, capsys):
    before = (swept / "sweep.csv").read_text()
    sweep.main([NAME, *AXES, "--workdir", str(swept), *SMALL, *LENGTH])
    assert "finished" in capsys.readouterr().out
    assert (swept / "sweep.csv").read_text() == before


def test_an_interrupted_sweep_goes_on_where_it_was(swept, tmp_path):
    """The checkpoint of step 20 alone leads to the same rows as no interruption."""
    folder = epath.Path(tmp_path / "run")
    shutil.copytree(swept, folder)
    (folder / "sweep.csv").unlink()
    shutil.rmtree(folder / "checkpoints" / "40")
    sweep.main([NAME, *AXES, "--workdir", str(folder), *SMALL, *LENGTH])
    ours, theirs = (measures.read_csv(place / "sweep.csv") for place in (folder, swept))
    assert ours == theirs
    for index in range(4):
        name = f"members/{index:03d}/metrics.jsonl"
        assert (folder / name).read_text() == (swept / name).read_text()


def test_each_member_is_the_same_run_alone():
    """1e-5 after 50 steps from one state."""
    experiment = command_line.override(NAME, [*SMALL, "--num-steps", "50"]).experiment
    base = Run.load(experiment, None)
    members = [
        {"kappa": 0.3, "learning_rate": 5e-4, "seed": 3},
        {"kappa": 0.6, "learning_rate": 2e-3, "seed": 0},
    ]
    both = Sweep(base, members)
    keys = jax.vmap(jax.random.key)(jnp.array([3, 0]))
    values = population.values_of([{k: v for k, v in m.items() if k != "seed"} for m in members])
    settings = {
        "preprocess": experiment.data.preprocess,
        "mesh": make_mesh(devices=jax.devices()[:1]),
    }
    source = replicate(base.source(), settings["mesh"])
    state = population.initial_states(both._setup, values, source.examples, keys)
    start = jax.device_get(state.variables)
    together, _ = population.compile_sweep_steps(both._setup, **settings)(
        state, values, source, num_steps=50
    )
    for index, member in enumerate(members):
        run = Run(at(experiment, member, None), base.splits)
        alone = run.initial_state()
        jax.tree.map(
            np.testing.assert_array_equal, population.member(start, index), alone.variables
        )
        alone, _ = jax.jit(
            lambda state, run=run: train_steps(
                state, source, num_steps=50, model=run.experiment.model,
                objective=run.experiment.objective, tx=run.transformation(), **settings,
            )
        )(alone)  # fmt: skip
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5),
            population.member(together.variables, index),
            alone.variables,
        )


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["digits_vae_elbo", "--kappas", "0.1"], "kappas need an experiment with a constraint"),
        ([NAME, "--betas", "0.1"], "betas need the objective ELBO"),
        ([NAME, "--kappas", "-1e400"], "must be finite"),
        (
            [NAME, "--constraint", "re", "--kappas", "0.1"],
            "constraint must be one of nll, got 're'",
        ),
        ([NAME, "--seeds", "0"], "seeds must be at least 1, got 0"),
        ([NAME, "--trajectory", "3"], "trajectory must be one of the members 0 to 0, got 3"),
        (
            ["mnist_rotate_convdraw_re", "--marginal-inputs", "10"],
            "the model of mnist_rotate_convdraw_re is conditional: leave it out",
        ),
        (
            ["grey_mnist_mlp_fre", "--against", "grey_mnist_mlp_elbo"],
            "against needs an experiment with a constraint RE of the name re",
        ),
        (
            ["grey_mnist_mlp_re", "--against", "grey_digits_mlp_elbo"],
            "against needs two experiments on the same data",
        ),
        ([NAME, "--pilot-fraction", "0.5"], "pilot_fraction = 0.5 is not known to this command"),
        (["digits_vhp_gecko"], "nearest name is 'digits_vhp_geco'"),
    ],
)
def test_wrong_arguments_get_one_sentence(refusal, tmp_path, argv, sentence):
    assert sentence in refusal(*argv, "--workdir", tmp_path / "run", main=sweep.main)
    assert not (tmp_path / "run").exists()


def test_a_workdir_of_other_members_is_refused(refusal, swept):
    argv = [NAME, "--kappas", "0.3", "--workdir", swept, *SMALL, *LENGTH]
    assert "holds a sweep of other members" in refusal(*argv, main=sweep.main)
    assert json.loads((swept / "members.json").read_text())["members"][0]["kappa"] == 0.3


def test_an_experiment_is_set_against_another_at_its_error(tmp_path):
    tiny = ["--model.encoder.trunk.hidden", "8", "--model.decoder.trunk.hidden", "8"]
    sweep.main(
        ["grey_digits_mlp_re", "--against", "grey_digits_mlp_elbo", "--against-steps", "20",
         "--seeds", "2", "--marginal-inputs", "100", "--workdir", str(tmp_path), *tiny, *LENGTH]
    )  # fmt: skip
    result = json.loads((tmp_path / "comparison.json").read_text())
    ours, theirs = (
        measures.read_csv(place / "sweep.csv") for place in (tmp_path, tmp_path / "against")
    )
    assert result["steps"] == [40, 20]
    for mine, reference in zip(ours, theirs, strict=True):
        assert mine["re_kappa"] == reference["sigma_star"]
        assert mine["seed"] == reference["seed"]
    for name in ("rate", "rmse", "marginal_kl"):
        difference = np.mean([m[name] - t[name] for m, t in zip(ours, theirs, strict=True)])
        assert result[name]["difference"] == pytest.approx(difference)
        low, high = result[name]["interval"]
        assert low < difference < high
        assert (tmp_path / f"paired_{name}.png").stat().st_size > 1000
    assert (tmp_path / "equal_distortion.png").stat().st_size > 1000
