"""The pendulum: its geometry by symmetry and by an integral, its angles, and what it refuses."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from vaelab import data
from vaelab.data.pendulum import match_pendulum, pendulum
from vaelab.data.validation import validate

ANGLES = np.random.default_rng(0).uniform(0, 2 * np.pi, 50).astype(np.float32)
SMALL = dict(num_train=600, num_validation=7, num_test=5)


def centre_of_mass(images) -> np.ndarray:
    """(right, up) of each image [N, S, S, 1], in units of half the side."""
    weights = np.asarray(images, np.float64)[..., 0]
    places = (2 * np.arange(weights.shape[1]) + 1) / weights.shape[1] - 1
    mass = weights.sum((1, 2))
    right, up = (weights * places).sum((1, 2)), (weights * -places[:, None]).sum((1, 2))
    return np.stack([right / mass, up / mass], -1)


@pytest.mark.parametrize("size", [16, 17, 64])
def test_the_centre_of_mass_lies_in_the_direction_of_the_angle(size):
    centre = centre_of_mass(pendulum(ANGLES, size=size))
    radius = np.linalg.norm(centre, axis=1)
    expected = radius[:, None] * np.stack([np.sin(ANGLES), -np.cos(ANGLES)], -1)
    np.testing.assert_allclose(centre, expected, atol=0.015 if size < 64 else 0.002)
    assert radius.std() < 0.02 * radius.mean()  # one pendulum, at all angles


def test_the_area_of_a_fine_image_is_that_of_rod_and_bob():
    """The bob's disk and the rod's rectangle and half disk, less the rod's part within the bob."""
    length, bob, rod = 0.58, 0.24, 0.08
    s = np.linspace(0, length, 400_001)
    inside = np.minimum(rod, np.sqrt(np.maximum(bob**2 - (s - length) ** 2, 0)))
    outside_of_bob = 2 * np.trapezoid(rod - inside, s)
    area = np.pi * bob**2 + outside_of_bob + np.pi * rod**2 / 2
    image = pendulum(ANGLES[:3], size=400)
    np.testing.assert_allclose(4 * np.mean(image, (1, 2, 3)), area, rtol=2e-4)


@pytest.mark.parametrize("size", [15, 16])
def test_a_full_turn_changes_nothing_and_a_quarter_turn_turns_the_image(size):
    images = np.asarray(pendulum(ANGLES, size=size))
    around = pendulum(ANGLES + np.float32(2 * np.pi), size=size)
    np.testing.assert_allclose(around, images, atol=2e-5)
    quarter = pendulum(ANGLES + np.float32(np.pi / 2), size=size)
    np.testing.assert_allclose(quarter, np.rot90(images, axes=(1, 2)), atol=2e-5)
    mirrored = pendulum(-ANGLES, size=size)
    np.testing.assert_allclose(mirrored, images[:, :, ::-1], atol=2e-5)


def test_images_move_at_nearly_constant_speed_and_never_touch_the_border():
    """The ring is closed and has no jump: steps of the angle are steps of the image."""
    images = np.asarray(pendulum(jnp.arange(720) * jnp.pi / 360)).reshape(720, 16, 16)
    steps = np.linalg.norm((np.roll(images, -1, 0) - images).reshape(720, -1), axis=1)
    assert steps.max() < 1.5 * steps.min()
    assert images.min() == 0
    assert images.max() == 1
    assert not images[:, [0, -1]].any()
    assert not images[:, :, [0, -1]].any()


def test_the_match_finds_the_angle_within_half_a_step():
    for images in (pendulum(ANGLES), pendulum(ANGLES).reshape(50, -1)):
        angles, errors = match_pendulum(images, num_angles=360)
        apart = np.angle(np.exp(1j * (np.asarray(angles) - ANGLES)))
        assert np.abs(apart).max() < 1.05 * np.pi / 360
        assert np.max(errors) < 0.02


def test_the_match_tells_a_pendulum_from_two():
    one, other = pendulum(ANGLES), pendulum(ANGLES + np.float32(np.pi))
    errors = match_pendulum((one + other) / 2).errors
    assert np.min(errors) > 10 * np.max(match_pendulum(one).errors)


def test_angles_are_the_labels_of_their_images_and_uniform():
    splits = data.Pendulum(**SMALL).load()
    validate(splits)
    assert [len(part.x) for part in splits.parts.values()] == [600, 7, 5]
    for part in splits.parts.values():
        assert part.x.shape[1:] == (16, 16, 1)
        assert part.labels.dtype == np.float32
        np.testing.assert_array_equal(part.x, pendulum(part.labels))
    angles = splits.train.labels
    assert stats.kstest(angles, stats.uniform(0, 2 * np.pi).cdf).pvalue > 0.01
    assert not np.isin(splits.test.labels, angles).any()


def test_flat_images_are_the_same_images_and_are_shown_alike():
    images, vectors = data.Pendulum(8, **SMALL), data.Pendulum(8, flat=True, **SMALL)
    x, flat = images.load().test.x, vectors.load().test.x
    assert flat.shape == (5, 64)
    np.testing.assert_array_equal(flat.reshape(x.shape), x)
    np.testing.assert_array_equal(vectors.show(flat).images, images.show(x).images)
    resized = data.Resized(images, 16)
    assert resized.show(resized.load().test.x).images.shape == (5, 16, 16, 1)
    assert vectors.show(2 * flat).note == "Values are clipped to [0, 1]."


def test_seeds_draw_other_angles_also_large_ones():
    first, second, third = (
        data.Pendulum(8, seed=seed, **SMALL).load().train.labels for seed in (0, 1, 2**70)
    )
    assert not np.isin(first, second).any()
    assert not np.isin(first, third).any()
    again = data.Pendulum(8, seed=1, **SMALL).load().train.labels
    np.testing.assert_array_equal(second, again)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: data.Pendulum(7), "size must be at least 8 pixels, or the rod is invisible, got 7."),
        (lambda: data.Pendulum(16.5), "size must be a whole number, got 16.5."),
        (lambda: data.Pendulum(num_test=0), "num_test must be at least 1, got 0."),
        (lambda: data.Pendulum(seed=-1), "seed must be finite and not negative, got -1."),
        (lambda: pendulum(jnp.zeros((2, 1))), r"angles must be an array \[N\] with 1 axis, got"),
        (lambda: pendulum(np.array([0.0, np.nan])), "angles holds nan in example 1: repair or remove"),
        (lambda: pendulum("a"), r"angles must be numbers \[N\] in radians, got 'a'\."),
        (lambda: pendulum([[0.0], [0.0, 1.0]]), r"angles must be numbers \[N\] in radians, got \[\["),
        (lambda: match_pendulum(jnp.zeros((2, 5))), r"images must be \[N, size, size, 1\] or"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_are_refused(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
