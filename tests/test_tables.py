"""The tables of experiments, and the tables of results in the documents."""

from __future__ import annotations

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import bits, digits, mnist, tables, taming, top_down, vampprior, vlae
from vaelab import runs
from vaelab.checks import DamagedFileError
from vaelab.runs import results
from vaelab.runs.experiment import Experiment
from vaelab.runs.record import to_record
from vaelab.runs.results import Estimate, Published, Row
from vaelab.training.groups import transformation
from vaelab.training.state import initial_state
from vaelab.types import Examples

MODULES = (bits, digits, mnist, vampprior, taming, top_down, vlae)
EXPERIMENTS = {n: e for module in MODULES for n, e in module.EXPERIMENTS.items()}

# The names of the former configuration files. They stay valid.
NAMES = """
celeba_convdraw: annealed elbo fre pncc re
cifar10_convdraw: annealed elbo fre pncc re
cifar10_jpeg_mlp: beta cla elbo fre pncc re
cifar10_nvp: elbo re
color_mnist_convdraw: annealed elbo fre pncc re
color_mnist_mlp: beta cla elbo fre pncc re
color_mnist_nvp: elbo re
digits: vae_elbo vae_iwae vae_warmup vhp_dreg vhp_elbo vhp_geco vhp_rewo
dynamic_mnist: flow mixture standard vamp vhp_rewo
grey_digits_convdraw: re
grey_digits_mlp: beta elbo re
grey_mnist_mlp: annealed beta cla elbo fre pncc re re_cla
mnist16_convdraw: elbo re
mnist_rotate_convdraw: elbo re
mnist_sum_convdraw: elbo re
mnist_sum_hard_convdraw: elbo re
mnist_triplets_convdraw: elbo re
mnist: vae_dreg vae_elbo vae_iwae vae_warmup vhp_elbo vhp_geco vhp_rewo
static_mnist: flow mixture standard vamp vhp_rewo
"""


def former_names() -> set[str]:
    lines = [line.split(": ") for line in NAMES.strip().splitlines()]
    return {f"{family}_{key}" for family, keys in lines for key in keys.split()}


def test_the_former_names_stay_valid():
    assert len(former_names()) == 77
    assert former_names() <= set(EXPERIMENTS)


def test_no_name_stands_in_two_files():
    assert sum(len(module.EXPERIMENTS) for module in MODULES) == len(EXPERIMENTS)


@pytest.mark.parametrize("module", [taming, vampprior])
def test_experiments_are_those_of_the_families(module):
    of_families = [row for rows in module.FAMILIES.values() for row in rows.values()]
    assert list(map(id, module.EXPERIMENTS.values())) == list(map(id, of_families))
    for family, rows in module.FAMILIES.items():
        for key, row in rows.items():
            assert module.EXPERIMENTS[f"{family}_{key}"] is row


@pytest.mark.parametrize("family", taming.FAMILIES)
def test_a_family_shares_data_and_network(family):
    """Only the decoder's scale, the objective and the dual differ."""

    def shared(experiment: Experiment):
        record = to_record(experiment)
        for field in ("objective", "dual"):
            del record[field]
        for field in ("scale", "learned"):
            record["model"]["decoder"].pop(field)
        return record

    first, *others = map(shared, taming.FAMILIES[family].values())
    assert all(other == first for other in others)


@pytest.mark.parametrize("family", taming.FAMILIES)
def test_keys_of_a_family_name_its_constraints(family):
    for key, experiment in taming.FAMILIES[family].items():
        constraints = "_".join(experiment.objective.constraints)
        assert constraints == (key if experiment.dual is not None else "")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_has_an_initial_state(name):
    value = EXPERIMENTS[name]
    shape = value.model.decoder.shape
    scales = {n: c.divisor(shape) for n, c in value.objective.constraints.items()}
    tx = transformation(
        value.optimiser, value.dual, parameter_groups=value.model.parameter_groups,
        num_steps=value.num_steps, scales=scales, prior_period=value.prior_period,
    )  # fmt: skip
    channels = {"mnist_rotate": 2, "mnist_sum": 2, "mnist_sum_hard": 1}
    family = re.fullmatch(r"(.*)_convdraw_\w+", name)
    context = channels.get(family[1]) if family else None

    def initial(examples):
        return initial_state(value.model, value.objective, tx, examples, jax.random.key(value.seed))

    examples = Examples(
        jnp.zeros((1, *shape)),
        None,
        None if context is None else jnp.zeros((1, *shape[:2], context)),
    )
    state = jax.eval_shape(initial, examples)
    assert "decoder" in state.variables.params
    assert set(state.variables.multipliers) == set(value.objective.constraints)
    sizes = {"digits": 8, "mnist16": 16, "mnist": 28, "cifar10": 32, "svhn": 32, "celeba": 64}
    assert shape[0] == next(size for data, size in sizes.items() if data in name)


def row(experiment="a", **fields) -> Row:
    return Row(experiment, {"elbo": Estimate(-1.5, 0.1, num_test=10)}, **fields)


def test_results_survive_a_round_trip(tmp_path):
    full = Row(
        "a",
        {
            "log_likelihood": Estimate(-84.4, standard_error=0.22, num_samples=50, num_test=9),
            "rate": Estimate(3.0, deviation=0.5),
            "difference": Estimate(0.4, interval=(-0.5, 1.4)),
        },
        changes={"objective.constraints.re.kappa": 0.1, "num_steps": 9},
        seeds=(3, 5),
        steps=9,
        epochs=0.5,
        tolerance={"rate": 0.2},
        seconds=1.25,
        hardware="2 × π",
        commit="abc",
        published=Published(-84.45, "a paper", 0.12),
        reference="b",
        note='a "note"',
    )
    written = {"one": [full, Row("b", {})], "none": []}
    results.write(tmp_path / "results.json", written)
    assert results.read(tmp_path / "results.json") == written
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


def test_results_in_the_repository_are_as_written(tmp_path):
    results.write(tmp_path / "results.json", results.read(tables.RESULTS))
    assert (tmp_path / "results.json").read_text() == tables.RESULTS.read_text()


@pytest.mark.parametrize(
    "text", ["", "[]", '{"one": [{"experiment": "a"}]}', '{"one": [{"x": 1}]}']
)
def test_a_damaged_file_is_named(tmp_path, text):
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(DamagedFileError, match=r"results\.json is damaged"):
        results.read(tmp_path / "results.json")


def test_a_repeated_row_takes_the_place_of_the_old_one():
    rows = [row("a"), row("b")]
    new = row("a", seconds=2.0)
    assert results.merge(rows, [new]) == [new, row("b")]
    assert rows == [row("a"), row("b")]


@pytest.mark.parametrize(
    "fields",
    [{"changes": {"num_steps": 5}}, {"seeds": (1,)}, {"reference": "r"}, {"experiment": "b"}],
)
def test_another_run_is_another_row(fields):
    assert results.merge([row()], [row(**fields)]) == [row(), row(**fields)]


def test_a_row_repeated_at_its_commit_keeps_tolerance_and_note():
    old = row(commit="c", tolerance={"elbo": 0.1}, note="shared cores")
    (kept,) = results.merge([old], [row(commit="c", seconds=2.0)])
    assert kept == old._replace(seconds=2.0)


def test_a_newer_commit_takes_the_place_of_a_row_without_tolerance():
    old, other = row(commit="c", note="old"), row("b", commit="c")
    assert results.merge([old, other], [row(commit="d")]) == [row(commit="d"), other]


def test_a_newer_commit_stands_beside_a_row_with_a_tolerance():
    """Its test compares with the row as it is. The next commit takes the place of the second row."""
    tested = row(commit="c", tolerance={"elbo": 0.1})
    rows = results.merge([tested], [row(commit="d")])
    assert rows == [tested, row(commit="d")]
    assert results.merge(rows, [row(commit="e")]) == [tested, row(commit="e")]


def test_a_row_takes_the_published_number_of_its_experiment():
    published = Published(-84.45, "a paper")
    old = row(published=published, changes={"num_steps": 5})
    assert results.merge([old], [row()]) == [old, row(published=published)]


def test_one_seed_keeps_its_standard_error():
    estimate = Estimate(-84.5, 0.3, num_samples=7, num_test=10)
    assert results.over_seeds([estimate]) == estimate


def test_several_seeds_have_a_standard_deviation():
    means = [-84.0, -85.0, -83.0]
    estimate = results.over_seeds([Estimate(mean, 0.3, num_test=10) for mean in means])
    assert estimate == Estimate(-84.0, deviation=np.std(means, ddof=1), num_test=10)


@pytest.mark.parametrize("path", tables.DOCUMENTS, ids=lambda path: path.parent.name)
def test_documents_show_the_results(path):
    text = path.read_text()
    assert "<!-- results: " in text
    assert tables.render(text, results.read(tables.RESULTS)) == text


def test_every_table_is_shown():
    shown = re.findall(r"<!-- results: (\w+) -->", "".join(p.read_text() for p in tables.DOCUMENTS))
    assert sorted(shown) == sorted(tables.TABLES)


def test_the_text_around_a_table_stays():
    measured = results.read(tables.RESULTS)
    document = "before\n<!-- results: digits -->\nold\n<!-- end of results -->\nafter\n"
    made = tables.markdown("digits", measured)
    assert tables.render(document, measured) == document.replace("old\n", made)


def test_rows_name_experiments():
    """The priors on the digits are a study of their own."""
    measured = results.read(tables.RESULTS)
    for table, rows in measured.items():
        if table != "digits_priors":
            assert {row.experiment for row in rows} <= set(EXPERIMENTS)
            references = {row.reference.split(",")[0] for row in rows} - {""}
            assert references <= set(EXPERIMENTS)


def test_a_shortened_run_stands_beside_no_published_number():
    published = Published(-84.45, "a paper", 0.12)
    estimates = {"log_likelihood": Estimate(-84.5, 0.3, num_samples=5, num_test=10)}
    whole = Row("a", estimates, epochs=700.0, published=published)
    (cells,) = tables.likelihoods(whole)
    assert (cells["published log p(x)"], cells["epochs"]) == ("−84.45 ± 0.12", "700")
    (cells,) = tables.likelihoods(whole._replace(changes={"num_steps": 5}))
    assert (cells["published log p(x)"], cells["epochs"]) == ("", "shortened to 700")


def test_json_is_standard(tmp_path):
    results.write(tmp_path / "results.json", {"one": [row()]})
    assert json.loads((tmp_path / "results.json").read_text()) == {
        "one": [
            {
                "experiment": "a",
                "estimates": {"elbo": {"mean": -1.5, "standard_error": 0.1, "num_test": 10}},
            }
        ]
    }


REPEATED = [row for row in results.read(tables.RESULTS)["digits"] if row.tolerance]


def test_two_rows_are_repeated():
    assert len(REPEATED) == 2


@pytest.mark.parametrize("row", REPEATED, ids=lambda row: row.experiment)
def test_a_repeated_run_gives_the_measured_numbers(row):
    (seed,) = row.seeds
    result = runs.train(EXPERIMENTS[row.experiment], progress=False, seed=seed, **row.changes)
    assert result.last_step == row.steps
    report = result.report()
    for name, tolerance in row.tolerance.items():
        assert abs(getattr(report, name).mean - row.estimates[name].mean) < tolerance, name
        for field in ("num_samples", "num_test"):
            if (expected := getattr(row.estimates[name], field)) is not None:
                measured = report.log_likelihood if name == "log_likelihood" else report
                assert getattr(measured, field) == expected
