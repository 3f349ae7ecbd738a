"""Samplers: the uniform order of the papers, and batches that are balanced over groups."""

from __future__ import annotations

import collections
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from vaelab.training.samplers import Balanced, Uniform
from vaelab.training.sources import in_memory
from vaelab.types import Examples

KEY = jax.random.key(3)
SIZES = {"all alike": [6, 6, 6], "uneven": [1, 2, 40, 7], "one": [9], "many": [2] * 11}
GROUPS = {name: np.repeat(3 * np.arange(len(sizes)), sizes) for name, sizes in SIZES.items()}


def examples(groups, **fields) -> Examples:
    """Examples whose x is their row, in an order that is not sorted by group."""
    order = np.random.default_rng(0).permutation(len(groups))
    return Examples(
        np.arange(len(groups), dtype=np.float32)[:, None],
        groups=groups[order].astype(np.int32),
        **fields,
    )


def batches(source, num_steps, *, first=0, key=KEY) -> Examples:
    """The batches of these steps, [num_steps, B, ...], as the training scan draws them."""

    @jax.jit
    def draw(source):
        def body(carry, step):
            batch, carry = source.next(carry, key, step)
            return carry, batch

        steps = first + jnp.arange(num_steps)
        return jax.lax.scan(body, source.start(key, steps[0]), steps)[1]

    return jax.device_get(draw(source))


def test_uniform_slices_a_permutation_of_each_epoch():
    source = in_memory(examples(GROUPS["uneven"]), batch_size=8)  # 6 batches of 50 rows
    expected = [
        np.asarray(jax.random.permutation(jax.random.fold_in(KEY, epoch), 50))[:48].reshape(6, 8)
        for epoch in range(3)
    ]
    np.testing.assert_array_equal(batches(source, 18).x[..., 0], np.concatenate(expected))


@pytest.mark.parametrize("sampler", [Uniform(), Balanced()])
def test_batches_depend_on_key_and_step_alone(sampler):
    source = in_memory(examples(GROUPS["uneven"]), batch_size=8, sampler=sampler)
    whole = batches(source, 20).x
    for first in (5, 6, 19):
        np.testing.assert_array_equal(batches(source, 20 - first, first=first).x, whole[first:])
    assert (batches(source, 20, key=jax.random.key(4)).x != whole).any()


@pytest.mark.parametrize("batch_size", [1, 3, 7, 12, 50])
@pytest.mark.parametrize("name", GROUPS)
def test_balanced_batches_hold_each_group_alike(name, batch_size):
    groups = GROUPS[name]
    source = in_memory(examples(groups), batch_size=batch_size, sampler=Balanced())
    drawn, present = batches(source, 30).groups, np.unique(groups)
    for batch in drawn:
        count = collections.Counter(batch.tolist())
        counts = np.array([count[group] for group in present])
        assert counts.sum() == batch_size
        assert counts.max() - counts.min() <= 1
        if len(present) > batch_size:
            assert counts.max() == 1


def test_balanced_draws_are_uniform_within_and_among_groups():
    """χ² tests: of the rows of one group, and of the groups that are drawn once more."""
    data = examples(GROUPS["uneven"])
    drawn = batches(in_memory(data, batch_size=6, sampler=Balanced()), 20_000)
    rows, groups = drawn.x[..., 0].ravel().astype(int), drawn.groups
    for group in np.unique(data.groups):
        members = np.flatnonzero(data.groups == group)
        counts = np.bincount(rows, minlength=50)[members]
        if len(members) > 1:
            assert scipy.stats.chisquare(counts).pvalue > 1e-3
    twice = [collections.Counter(batch.tolist()) for batch in groups]
    pairs = collections.Counter(
        tuple(sorted(group for group, count in counter.items() if count == 2)) for counter in twice
    )
    assert len(pairs) == 6  # of 4 groups, 2 are drawn once more
    assert scipy.stats.chisquare(list(pairs.values())).pvalue > 1e-3


def test_steps_are_independent_draws():
    """A χ² test of the pairs of rows of successive steps."""
    source = in_memory(examples(np.zeros(5, int)), batch_size=1, sampler=Balanced())
    rows = batches(source, 20_000).x.ravel().astype(int)
    table = np.zeros((5, 5), int)
    np.add.at(table, (rows[:-1], rows[1:]), 1)
    assert scipy.stats.chi2_contingency(table).pvalue > 1e-3


def test_classes_are_groups_where_there_are_none():
    labels = np.repeat(np.arange(3), 4).astype(np.int32)
    data = Examples(np.zeros((12, 2), np.float32), labels)
    drawn = batches(in_memory(data, batch_size=6, sampler=Balanced()), 5).labels
    np.testing.assert_array_equal(np.sort(drawn, axis=1), [[0, 0, 1, 1, 2, 2]] * 5)


def test_members_of_a_sweep_draw_batches_of_their_own():
    """Under vmap over keys as one at a time."""
    source = in_memory(examples(GROUPS["uneven"]), batch_size=6, sampler=Balanced())
    source = jax.device_put(source)
    keys = jax.random.split(KEY, 3)
    together = jax.vmap(lambda key: source.next((), key, jnp.asarray(4))[0].x)(keys)
    for key, rows in zip(keys, together, strict=True):
        np.testing.assert_array_equal(batches(source, 1, first=4, key=key).x[0], rows)


X = np.zeros((4, 2), np.float32)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (
            Examples(X),
            "sampler Balanced needs groups or classes: the data have no labels: choose data with "
            "classes. Or choose sampler Uniform.",
        ),
        (
            Examples(X, np.zeros(4, np.float32)),
            "sampler Balanced needs groups or classes: labels must be classes, integers [N], got "
            "float32 of the shape (4,): choose data with classes. Or choose sampler Uniform.",
        ),
    ],
)
def test_balanced_needs_groups(data, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        in_memory(data, batch_size=2, sampler=Balanced())
