"""FRE, CLA and pNCC against loops in numpy, what they leave free, and what they refuse."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_constraints import draw, guess, half, terms_of

from vaelab import constraints
from vaelab.constraints import CLA, FRE, RE, LocalStatistics, pNCC, windows
from vaelab.types import Examples

K, B = 3, 4
COLOUR = (7, 9, 3)


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def loop_windows(image, size, stride):
    """Every window of one image, the last of each row and column ending with the image."""

    def starts(length):
        found, start = [], 0
        while start < length - size:
            found.append(start)
            start += stride
        return [*found, length - size]

    for top in starts(image.shape[0]):
        for left in starts(image.shape[1]):
            yield image[top : top + size, left : left + size]


@pytest.mark.parametrize(("size", "stride"), [(3, 2), (3, 3), (7, 5), (1, 1)])
def test_windows_are_those_of_a_loop_and_cover_the_image(size, stride):
    x, location = draw(COLOUR)
    actual = windows(location, size=size, stride=stride)
    for k in range(K):
        for b in range(B):
            expected = np.array(list(loop_windows(location[k, b], size, stride)))
            np.testing.assert_array_equal(actual[k, b].reshape(expected.shape), expected)
    covered = jax.grad(lambda x: jnp.sum(windows(x, size=size, stride=stride)))(x)
    assert covered.min() >= 1


def test_feature_reconstruction_error_by_hand():
    x, location = draw(COLOUR)

    def features(x):  # of two axes, and not linear
        return jnp.tanh(x).sum(-1) ** 2

    expected = np.zeros((K, B))
    for k in range(K):
        for b in range(B):
            target, reconstruction = (np.tanh(v).sum(-1) ** 2 for v in (x[b], location[k, b]))
            expected[k, b] = np.linalg.norm(target - reconstruction) ** 2 - 7 * 9 * 0.3**2
    constraint = FRE(0.3, features)
    actual = constraint(Examples(x), terms_of(location=location))
    np.testing.assert_allclose(actual, expected, rtol=1e-12)
    assert constraint.divisor(COLOUR) == 7 * 9 * 0.3**2


def test_features_that_are_the_image_make_the_reconstruction_error():
    x, location = draw(COLOUR)
    identity, plain = FRE(0.3, lambda x: x), RE(0.3)
    terms = terms_of(location=location)
    np.testing.assert_array_equal(identity(Examples(x), terms), plain(Examples(x), terms))
    assert identity.divisor(COLOUR) == plain.divisor(COLOUR)
    assert identity.achieved(0.2, COLOUR) == plain.achieved(0.2, COLOUR)


def test_local_statistics_by_hand():
    x, _ = draw(COLOUR)
    actual = LocalStatistics(window=4, stride=3)(x)
    for b in range(B):
        patches = list(loop_windows(x[b], 4, 3))
        expected = [np.r_[p.mean((0, 1)), p.std((0, 1))] for p in patches]
        np.testing.assert_allclose(actual[b].reshape(-1, 6), expected, rtol=1e-12)


@pytest.mark.parametrize("level", [0.0, 0.1, 1.0])
def test_local_statistics_of_flat_windows_in_float32(level):
    """Deviation exactly 0 or rounding, its gradient 0 or at most that of a norm, never NaN."""
    flat = np.full((1, 8, 8, 1), level, np.float32)
    statistics = LocalStatistics(window=4, stride=4)
    means, deviations = np.moveaxis(np.asarray(statistics(flat)), -1, 0)
    np.testing.assert_allclose(means, level, rtol=1e-6)
    np.testing.assert_allclose(deviations, 0.0, atol=1e-7)
    gradient = jax.grad(lambda x: jnp.sum(statistics(x)[..., 1]))(flat)
    window = np.asarray(gradient)[0, :4, :4, 0]
    assert np.linalg.norm(window) <= 1 / 4 * (1 + 1e-5)  # 1/√n, n = 16


def test_classification_by_hand():
    rng = np.random.default_rng(0)
    probabilities, labels = rng.dirichlet(np.ones(5), (K, B)), np.array([4, 0, 2, 2])
    expected = np.zeros((K, B))
    for k in range(K):
        for b in range(B):
            expected[k, b] = 0.7 - probabilities[k, b, labels[b]]
    actual = constraints.classification_shortfall(probabilities, labels, kappa=0.7)
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


def test_a_classifier_that_is_sure_makes_the_accuracy():
    """One-hot probabilities: the mean is the share of the right answers."""
    right = np.array([[1, 0, 1, 1], [1, 1, 1, 1], [0, 0, 1, 0]])
    labels = np.array([2, 1, 0, 2])
    probabilities = jax.nn.one_hot((labels + 1 - right) % 3, 3)
    location = np.broadcast_to(probabilities[:, :, None, :, None], (K, B, 2, 3, 1))
    constraint = CLA(0.9, lambda x: x[:, 0, :, 0])
    value = constraint(Examples(location[0], labels), terms_of(location=location))
    np.testing.assert_allclose(value, 0.9 - right, atol=1e-12)
    mean = float(jnp.mean(value))
    assert constraint.achieved(mean, location.shape[2:]) == pytest.approx(right.mean())
    assert float(constraint.of_images(location[0], labels)) == pytest.approx(right[0].mean())


def loop_correlation(x, location, kappa, patch, stride, epsilon):
    """C by the definition: patch by patch, Pearson's correlation where both vary by more than ε."""
    expected = np.zeros(location.shape[:2])
    for k, b in np.ndindex(*expected.shape):
        found = []
        pairs = zip(
            loop_windows(x[b], patch, stride),
            loop_windows(location[k, b], patch, stride),
            strict=True,
        )
        for target, reconstruction in pairs:
            if np.std(target) <= epsilon:
                continue
            u, v = (
                target.ravel() - np.mean(target),
                reconstruction.ravel() - np.mean(reconstruction),
            )
            floor = epsilon * np.sqrt(len(v))
            found.append(u @ v / np.linalg.norm(u) / max(np.linalg.norm(v), floor))
        expected[k, b] = kappa - np.mean(found) if found else 0.0
    return expected


@pytest.mark.parametrize(("patch", "stride"), [(3, 1), (3, 2), (7, 7)])
def test_patch_correlation_by_hand(patch, stride):
    x, location = draw(COLOUR)
    x[0, :, :5] = 0.4  # some patches without a shape
    x[1] = 0.0  # and an image of nothing else
    location[0, 0, :4] = 0.1  # some flat reconstructions of patches with one
    settings = {"kappa": 0.3, "patch": patch, "stride": stride, "epsilon": 0.02}
    expected = loop_correlation(x, location, *settings.values())
    assert (expected[:, 1] == 0.0).all()
    actual = constraints.patch_correlation_shortfall(x, location, **settings)
    np.testing.assert_allclose(actual, expected, atol=1e-12)
    actual = pNCC(**settings)(Examples(x), terms_of(location=location))
    np.testing.assert_allclose(actual, expected, atol=1e-12)


def test_patch_correlation_is_one_at_the_target_and_blind_to_brightness_and_contrast():
    """Each patch of the reconstruction may have its own; the stride keeps patches apart here."""
    x = np.random.default_rng(0).random((B, 6, 9, 3))
    x[:, :3, :3] = 0.2  # without a shape: whatever stands there does not count

    def correlate(g):
        return -constraints.patch_correlation_shortfall(x, g, kappa=0.0, patch=3, stride=3)

    np.testing.assert_allclose(correlate(np.stack([x, 0.1 * x + 0.5, 1 - x]))[:2], 1.0, rtol=1e-12)
    np.testing.assert_allclose(correlate((1 - x)[None]), -1.0, rtol=1e-12)
    rng = np.random.default_rng(1)
    gains, offsets = (
        np.kron(rng.uniform(0.2, 3, (B, 2, 3)), np.ones((3, 3)))[..., None] for _ in "ab"
    )
    location = rng.random((K, B, 6, 9, 3))
    changed = gains * location + offsets
    np.testing.assert_allclose(correlate(changed), correlate(location), rtol=1e-10)
    np.testing.assert_allclose(correlate((gains * x + offsets)[None]), 1.0, rtol=1e-12)


def test_patch_correlation_in_float32_with_little_contrast_on_a_bright_ground():
    """What box filters would lose: patches of deviation 1e-4 around 0.9."""
    rng = np.random.default_rng(0)
    x, location = 0.9 + 1e-4 * rng.normal(size=(2, B, 8, 8, 1))
    x, location = (v.astype(np.float32) for v in (x, location))
    settings = {"kappa": 0.5, "patch": 4, "stride": 2, "epsilon": 1e-6}
    expected = loop_correlation(x.astype(float), location[None].astype(float), *settings.values())
    actual = constraints.patch_correlation_shortfall(x, location[None], **settings)
    assert actual.dtype == jnp.float32
    np.testing.assert_allclose(actual, expected, atol=1e-3)


def test_a_flat_reconstruction_is_pulled_towards_the_target():
    x = np.random.default_rng(0).random((1, 4, 4, 1))
    gradient = jax.grad(
        lambda g: constraints.patch_correlation_shortfall(x, g, kappa=0.5, patch=4, stride=4)[0, 0]
    )(np.full((1, 1, 4, 4, 1), 0.5))
    centred = x - x.mean()
    # −ψ(x) / (√n ε), n = 16 and ε = 0.01
    np.testing.assert_allclose(gradient[0], -centred / np.linalg.norm(centred) / 0.04, rtol=1e-10)


@pytest.mark.parametrize(
    ("constraint", "shape", "labelled", "num_classes", "sentence"),
    [
        (
            CLA(0.9, guess),
            (4, 4, 1),
            False,
            None,
            "the data have no labels: choose data with classes",
        ),
        (CLA(0.9, guess), (4, 4, 1), True, 10, "has 3 classes, and the labels have 10"),
        (CLA(0.9, half), (4, 4, 1), True, None, r"returns \[B, \(2, 4, 1\)\]"),
        (
            pNCC(0.9, patch=8),
            (28, 6, 3),
            True,
            None,
            "is 8 and the images are 28x6: choose a patch",
        ),
        (FRE(0.1, LocalStatistics(8)), (6, 28, 3), True, None, "larger than images of 6x28"),
        (
            FRE(0.1, lambda x: x.reshape(-1, 784) @ np.ones((784, 3))),
            (32, 32, 1),
            False,
            None,
            r"features cannot be computed of images of \(32, 32, 1\): ",
        ),
        (FRE(0.1, jnp.sum), (4, 4, 1), False, None, "must keep the axis of the examples"),
    ],
)
def test_data_that_do_not_fit_are_refused(constraint, shape, labelled, num_classes, sentence):
    labels = np.arange(num_classes or 1) if labelled else None
    examples = Examples(np.zeros((num_classes or 1, *shape)), labels)
    with pytest.raises(ValueError, match=sentence) as error:
        constraint.check(examples)
    assert "\n" not in str(error.value)
    assert str(error.value).endswith(".")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: pNCC(0.9, patch=0), "patch must be at least 1, got 0"),
        (lambda: pNCC(0.9, patch=4, stride=5), r"stride must lie in \[1, 4\], the patch, so that"),
        (lambda: pNCC(0.9, epsilon=0.0), "epsilon must be positive and finite, got 0.0"),
        (lambda: LocalStatistics(window=4, stride=0), r"stride must lie in \[1, 4\], the window"),
        (lambda: FRE(0.1, "resnet"), "features of the constraint FRE must be a function of images"),
        (lambda: CLA(0.1, None), "classifier of the constraint CLA must be a function of images"),
    ],
)
def test_impossible_settings_are_refused(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
