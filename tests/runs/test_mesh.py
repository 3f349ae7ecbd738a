"""The shape of a mesh: what divides the batch and the members, on the devices that there are."""

import math

import pytest

from vaelab.runs import Mesh


@pytest.mark.parametrize("num_processes", [1, 2, 4])
@pytest.mark.parametrize("num_members", [None, 1, 3, 4, 12])
@pytest.mark.parametrize("batch_size", [4, 80, 100, 128])
def test_the_default_uses_as_many_devices_as_divide(batch_size, num_members, num_processes):
    sweep, data = Mesh().shape(batch_size, num_members, 8, num_processes)
    possible = [
        s * d
        for s in range(1, 9)
        for d in range(1, 9)
        if (num_members or 1) % s == 0 and batch_size % d == 0 and s * d <= 8
    ]
    assert sweep * data == max(n for n in possible if n % num_processes == 0)
    assert batch_size % data == 0
    assert (num_members or 1) % sweep == 0


@pytest.mark.parametrize(
    ("mesh", "arguments", "sentence"),
    [
        (
            Mesh(data=8), (100, None, 8),
            r"^mesh\.data = 8 must divide batch_size = 100: choose 1, 2, 4 or 5\.$",
        ),
        (
            Mesh(sweep=3), (100, 4, 8),
            r"^mesh\.sweep = 3 must divide the number of members, 4: choose 1, 2 or 4\.$",
        ),
        (
            Mesh(sweep=2), (100, None, 8),
            r"^mesh\.sweep = 2 splits the members of a sweep, and this is a single run: leave it out\.$",
        ),
        (
            Mesh(data=10, sweep=2), (100, 2, 8),
            r"^mesh\.data = 10 times mesh\.sweep = 2 is more than the 8 devices of this training: ",
        ),
        (
            Mesh(), (100, None, 9, 3),
            r"^9 devices of 3 processes cannot share batch_size = 100: .* choose a batch_size that is a multiple of 3\.$",
        ),
        (
            Mesh(data=1), (90, None, 9, 3),
            r"^9 devices of 3 processes cannot share batch_size = 90 and mesh\.data = 1: ",
        ),
    ],
    ids=["batch", "members", "one run", "devices", "processes", "data of processes"],
)  # fmt: skip
def test_a_shape_that_does_not_fit_is_refused(mesh, arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        mesh.shape(*arguments)


@pytest.mark.parametrize("settings", [{"data": 0}, {"sweep": -1}, {"data": 1.5}])
def test_settings_are_checked_where_they_are_made(settings):
    (name,) = settings
    with pytest.raises(ValueError, match=name):
        Mesh(**settings)


def test_members_are_split_before_the_batch():
    """Members need no communication."""
    assert Mesh().shape(128, 8, 8) == (8, 1)
    assert Mesh(data=4).shape(128, 8, 8) == (2, 4)
    assert math.prod(Mesh(sweep=1).shape(128, 8, 8)) == 8
