"""The mixtures among the priors: exact values, accuracy, memory, shared encoders, pseudo-inputs."""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from conftest import optimised_jit
from scipy.special import expit, log_softmax, logsumexp

from vaelab.likelihoods import BernoulliDecoder
from vaelab.models import VAE
from vaelab.networks import MLP, ConditionalGaussian
from vaelab.priors import GaussianMixture, Given
from vaelab.priors.components import diagonal_gaussian
from vaelab.priors.gtm import GTM
from vaelab.priors.gtm_vamp import GTMVampPrior
from vaelab.priors.vamp import VampPrior, clip
from vaelab.training import ELBO, Adam, DoublyReparameterised, initial_state, train_step
from vaelab.training.groups import transformation

SHAPE = (3, 2, 1)  # of an image
D, HIDDEN, C = 2, 7, 5  # latent coordinates, width of the encoder, pseudo-inputs


class Mixture(NamedTuple):
    """A mixture of diagonal Gaussians in numpy float64."""

    logits: np.ndarray  # [C]
    mean: np.ndarray  # [C, D]
    log_variance: np.ndarray  # [C, D]

    @classmethod
    def random(cls, seed: int, num_components: int, latent_dim: int) -> Mixture:
        rng = np.random.default_rng(seed)
        shape = (num_components, latent_dim)
        draws = rng.normal(size=num_components), rng.normal(size=shape), rng.normal(size=shape)
        return cls(*draws).rounded()

    @property
    def params(self) -> dict:
        """The parameters of a GaussianMixture."""
        return {"params": {name: jnp.asarray(part) for name, part in self._asdict().items()}}

    def rounded(self) -> Mixture:
        """The same in numbers that float32 has, so that rounding of the input counts for nothing."""
        return Mixture(*(np.float64(np.float32(part)) for part in self))

    def sample(self, seed: int, num_samples: int) -> np.ndarray:
        """Samples in numbers that float32 has."""
        rng = np.random.default_rng(seed)
        index = rng.choice(len(self.logits), num_samples, p=np.exp(log_softmax(self.logits)))
        noise = rng.normal(size=(num_samples, self.mean.shape[1]))
        z = self.mean[index] + np.exp(0.5 * self.log_variance[index]) * noise
        return np.float64(np.float32(z))

    def log_joint(self, z: np.ndarray) -> np.ndarray:
        """log w_k N(z; μ_k, diag σ_k²) with scipy, [B, D] -> [B, C]."""
        scale = np.exp(0.5 * self.log_variance)
        log_prob = scipy.stats.norm.logpdf(z[:, None], self.mean, scale).sum(-1)
        return log_prob + log_softmax(self.logits)

    def log_prob(self, z: np.ndarray) -> np.ndarray:
        return logsumexp(self.log_joint(z), axis=-1)

    def gradients(self, z: np.ndarray) -> tuple[np.ndarray, dict]:
        """Of Σ_b log p(z_b), by hand: to z [B, D] and to the parameters. r are responsibilities."""
        log_joint = self.log_joint(z)
        r = np.exp(log_joint - logsumexp(log_joint, axis=-1, keepdims=True))  # [B, C]
        difference, variance = z[:, None] - self.mean, np.exp(self.log_variance)  # [B, C, D]
        pull = r[..., None] * difference / variance
        stretch = 0.5 * r[..., None] * (difference**2 / variance - 1.0)
        weights = np.exp(log_softmax(self.logits))
        return -pull.sum(1), {
            "logits": np.sum(r - weights, axis=0),
            "mean": pull.sum(0),
            "log_variance": stretch.sum(0),
        }


def gaussian_mixture(mixture: Mixture) -> GaussianMixture:
    return GaussianMixture(mixture.mean.shape[1], num_components=len(mixture.mean))


def value_and_gradients(prior, variables, z):
    def total(z, variables):
        log_prob = prior.apply(variables, z, method="log_prob")
        return jnp.sum(log_prob), log_prob

    gradients, log_prob = jax.grad(total, argnums=(0, 1), has_aux=True)(z, variables)
    return log_prob, gradients[0], gradients[1]["params"]


quick_value_and_gradients = jax.jit(value_and_gradients, static_argnums=0)


def run(mixture: Mixture, z: np.ndarray):
    return quick_value_and_gradients(gaussian_mixture(mixture), mixture.params, jnp.asarray(z))


@pytest.mark.parametrize("latent_dim", [1, 8, 9, 40])
def test_density_and_gradients_equal_scipy_and_formulas_in_float64(latent_dim):
    mixture = Mixture.random(0, 6, latent_dim)
    z = np.concatenate([mixture.sample(1, 20), 3.0 * np.eye(latent_dim)])
    log_prob, to_z, to_params = run(mixture, z)
    np.testing.assert_allclose(log_prob, mixture.log_prob(z), rtol=2e-6, atol=2e-5)
    expected_to_z, expected = mixture.gradients(z)
    np.testing.assert_allclose(to_z, expected_to_z, rtol=1e-4, atol=2e-4)
    assert to_params.keys() == expected.keys()
    for name, gradient in to_params.items():
        np.testing.assert_allclose(gradient, expected[name], rtol=1e-4, atol=1e-3, err_msg=name)


def test_the_sum_over_coordinates_is_inside_the_logsumexp():
    """A logsumexp per coordinate is a product of 1-D mixtures, with mass at (−a, a) and (a, −a)."""
    mixture = Mixture(np.zeros(2), np.array([[-4.0, -4.0], [4.0, 4.0]]), np.zeros((2, 2)))
    z = np.array([[4.0, 4.0], [-4.0, 4.0]])
    at_component, between = run(mixture, z)[0]
    np.testing.assert_allclose(at_component, -np.log(2) - np.log(2 * np.pi), rtol=1e-6)
    np.testing.assert_allclose(between, -32.0 - np.log(2 * np.pi), rtol=1e-6)


def test_samples_have_the_components_standard_deviations():
    """exp(½ log σ²), and not exp(log σ²)."""
    log_variance = np.array([[-6.0, -2.0, 3.0]])
    mixture = Mixture(np.zeros(1), np.array([[1.0, 0.0, -5.0]]), log_variance)
    sample = functools.partial(gaussian_mixture(mixture).apply, mixture.params, method="sample")
    z = jax.jit(sample, static_argnums=1)(jax.random.key(0), 10_000)
    for axis, std in enumerate(np.exp(0.5 * log_variance[0])):
        cdf = scipy.stats.norm(mixture.mean[0, axis], std).cdf
        assert scipy.stats.kstest(np.asarray(z[:, axis]), cdf).pvalue > 1e-3


def hard_case(kind: str, latent_dim: int) -> Mixture:
    """Components with log σ² = −6 at |z| = 10 from the origin, where z²/σ² has lost digits.

    16 in one cluster, where all matter at each z; 16 apart on a sphere; 16 crowds of 5, of which a
    few matter at each z; 16 pairs of a narrow and a wide one, where the nearest may not be the one
    that matters.
    """
    rng = np.random.default_rng(latent_dim)
    num_clusters, size = {
        "cluster": (1, 16),
        "sphere": (16, 1),
        "crowds": (16, 5),
        "pairs": (16, 2),
    }[kind]
    mean = rng.normal(size=(num_clusters, 1, latent_dim))
    mean = 10.0 * mean / np.linalg.norm(mean, axis=-1, keepdims=True)
    if size > 1:
        mean = mean + 0.2 * np.exp(-3.0) * rng.normal(size=(num_clusters, size, latent_dim))
    log_variance = np.full(mean.shape, -6.0)
    if kind == "pairs":
        log_variance[:, 1] += 1.0
    mean, log_variance = (part.reshape(-1, latent_dim) for part in (mean, log_variance))
    return Mixture(rng.normal(size=len(mean)), mean, log_variance).rounded()


@pytest.mark.parametrize("latent_dim", [2, 40])
@pytest.mark.parametrize("kind", ["cluster", "sphere", "crowds", "pairs"])
@pytest.mark.parametrize("precision", [None, "bfloat16"])
def test_no_digits_are_lost_far_from_the_origin(latent_dim, kind, precision):
    mixture = hard_case(kind, latent_dim)
    z = mixture.sample(0, 100)
    with jax.default_matmul_precision(precision):
        log_prob, to_z, to_params = run(mixture, z)
    assert np.max(np.abs(log_prob - mixture.log_prob(z))) < 1e-3
    expected_to_z, expected = mixture.gradients(z)
    error = np.linalg.norm(to_z - expected_to_z, axis=-1) / np.linalg.norm(expected_to_z, axis=-1)
    assert np.max(error) < 1e-3
    for name, gradient in to_params.items():
        error = np.linalg.norm(gradient - expected[name]) / np.linalg.norm(expected[name])
        assert error < 1e-3, name


@pytest.mark.parametrize("latent_dim", [9, 32, 512])
def test_isolated_components_far_from_the_origin_are_exact(latent_dim):
    """At |z_d| = 30 with log σ² = −20 the product is wrong by thousands of nats, and none of it may stay."""
    rng = np.random.default_rng(latent_dim)
    mean = 30.0 * rng.choice([-1.0, 1.0], size=(20, latent_dim)) + rng.normal(size=(20, latent_dim))
    mixture = Mixture(rng.normal(size=20), mean, np.full(mean.shape, -20.0)).rounded()
    z = mixture.sample(0, 50)
    log_prob, to_z, to_params = run(mixture, z)
    assert np.max(np.abs(log_prob - mixture.log_prob(z))) < 1e-3  # log p(z) is 4,400 at D = 512
    expected_to_z, expected = mixture.gradients(z)
    error = np.linalg.norm(to_z - expected_to_z, axis=-1) / np.linalg.norm(expected_to_z, axis=-1)
    assert np.max(error) < 1e-5
    for name, gradient in to_params.items():
        error = np.linalg.norm(gradient - expected[name]) / np.linalg.norm(expected[name])
        assert error < 1e-5, name


def test_products_have_full_precision_whatever_the_default_is():
    mixture = Mixture.random(0, 6, 40)
    function = jax.jit(value_and_gradients, static_argnums=0)
    with jax.default_matmul_precision("bfloat16"):
        lowered = function.lower(gaussian_mixture(mixture), mixture.params, jnp.ones((3, 40)))
    products = [line for line in lowered.as_text().splitlines() if "dot_general" in line]
    assert len(products) >= 3  # forward, and back to z and to the components
    assert all("precision = [HIGHEST, HIGHEST]" in product for product in products)


@pytest.mark.parametrize("latent_dim", [3, 40])
def test_a_weight_of_zero_is_no_component_and_no_nan(latent_dim):
    mixture = Mixture.random(0, 4, latent_dim)
    mixture.logits[1] = -np.inf
    z = mixture.sample(0, 10)
    log_prob, to_z, to_params = run(mixture, z)
    others = Mixture(*(np.delete(part, 1, axis=0) for part in mixture))
    np.testing.assert_allclose(log_prob, others.log_prob(z), rtol=2e-6, atol=2e-5)
    np.testing.assert_allclose(to_z, others.gradients(z)[0], rtol=1e-4, atol=2e-4)
    for gradient in to_params.values():
        assert np.all(np.isfinite(gradient))
        np.testing.assert_array_equal(gradient[1], 0.0)


@pytest.mark.parametrize("latent_dim", [3, 40])
def test_gradients_at_extreme_latents(latent_dim):
    mixture = hard_case("sphere", latent_dim)
    z = 1e6 * np.random.default_rng(0).normal(size=(10, latent_dim))
    # Unoptimised, XLA rounds the logsumexp's maximum otherwise than its terms.
    function = optimised_jit(value_and_gradients, static_argnums=0)
    log_prob, to_z, to_params = function(gaussian_mixture(mixture), mixture.params, jnp.asarray(z))
    for leaf in jax.tree.leaves((log_prob, to_z, to_params)):
        assert np.all(np.isfinite(leaf))
    np.testing.assert_allclose(to_z, mixture.gradients(z)[0], rtol=1e-4)


def make_encoder(dim: int = D, event_ndims: int = 3) -> ConditionalGaussian:
    return ConditionalGaussian(MLP((HIDDEN,), event_ndims=event_ndims), dim)


def make_vamp(encoder: nn.Module | None, **settings) -> VampPrior:
    return VampPrior(D, SHAPE, encoder=encoder, **({"num_components": C} | settings))


def make_gtm_vamp(encoder: nn.Module | None, **settings) -> GTMVampPrior:
    settings = {"grid_size": C, "grid_dim": 1} | settings
    return GTMVampPrior(D, SHAPE, encoder=encoder, **settings)


def make_model(make_prior) -> VAE:
    """A model whose prior finds the encoder in it."""
    decoder = BernoulliDecoder(MLP((4,)), shape=SHAPE)
    return VAE(encoder=make_encoder(), decoder=decoder, prior=make_prior(None))


def test_a_large_vamp_prior_never_holds_every_sample_s_distance_to_every_component():
    """[K, B, C, D] would be 40 times what each sample's log-density under each component takes."""
    num_components, latent_dim, samples = 500, 40, (4, 32)
    encoder = make_encoder(latent_dim)
    prior = VampPrior(latent_dim, SHAPE, num_components=num_components, encoder=encoder)
    z = jnp.zeros((*samples, latent_dim))
    variables = jax.eval_shape(lambda: prior.init(jax.random.key(0), z))
    forbidden = np.prod(samples) * num_components * latent_dim

    def log_prob(variables, z):
        return jnp.sum(prior.apply(variables, z, method="log_prob"))

    for function in (log_prob, jax.grad(log_prob, argnums=(0, 1))):
        compiled = jax.jit(function).lower(variables, z).compile()
        # Also shapes inside fusions, which never reach memory.
        shapes = re.findall(r"\w+\[([\d,]+)\]", compiled.as_text())
        sizes = [np.prod([int(size) for size in shape.split(",")]) for shape in shapes]
        assert np.prod(samples) * num_components in sizes
        assert max(sizes) < forbidden / 8
        assert compiled.memory_analysis().temp_size_in_bytes < 4 * forbidden / 4


def dense(params, h):
    return h @ np.asarray(params["kernel"], np.float64) + np.asarray(params["bias"], np.float64)


def encode(params, images):
    """The encoder by hand: mean and standard deviation."""
    h = np.maximum(dense(params["trunk"]["Dense_0"], images.reshape(len(images), -1)), 0.0)
    mean, log_variance = np.split(dense(params["Dense_0"], h), 2, axis=-1)
    return mean, np.exp(0.5 * log_variance)


def random_variables(prior, scale: float = 1.0):
    shapes = jax.eval_shape(lambda: prior.init(jax.random.key(0), jnp.zeros(D)))
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: np.float32(scale * rng.normal(size=leaf.shape)), shapes)


def check_components(prior, variables, mean, scale):
    components = jax.jit(functools.partial(prior.apply, method="components"))(variables)
    np.testing.assert_allclose(components.mean, mean, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(components.scale, scale, rtol=1e-5)
    logits = variables["params"].get("logits", np.zeros(len(mean)))
    np.testing.assert_allclose(components.log_weights, log_softmax(logits), rtol=1e-5)
    assert ("logits" in variables["params"]) == prior.learned_weights


@pytest.mark.parametrize("learned_weights", [False, True])
def test_components_of_a_vamp_prior_are_the_encoder_s_posteriors(learned_weights):
    low, high = -0.5, 0.75
    prior = make_vamp(make_encoder(), learned_weights=learned_weights, data_range=(low, high))
    variables = random_variables(prior)
    pseudo_inputs = variables["params"]["pseudo_inputs"]
    assert np.min(pseudo_inputs) < low
    assert np.max(pseudo_inputs) > high
    expected = encode(variables["params"]["encoder"], np.clip(pseudo_inputs, low, high))
    check_components(prior, variables, *expected)


@pytest.mark.parametrize("learned_weights", [False, True])
def test_components_of_a_gtm_are_the_image_of_a_grid(learned_weights):
    prior = GTM(D, grid_size=3, grid_dim=2, learned_weights=learned_weights, hidden=(HIDDEN,))
    variables = random_variables(prior)
    params = variables["params"]["network"]
    axis = (-1, 0, 1)
    grid = np.array([(a, b) for a in axis for b in axis], np.float64)
    h = np.tanh(dense(params["trunk"]["Dense_0"], grid))
    mean, log_variance = np.split(dense(params["Dense_0"], h), 2, axis=-1)
    check_components(prior, variables, mean, np.exp(0.5 * log_variance))


@pytest.mark.parametrize("learned_weights", [False, True])
def test_components_of_a_gtm_vamp_prior_are_posteriors_at_the_image_of_a_grid(learned_weights):
    low, high = -1.0, 3.0
    settings = {"grid_size": 2, "grid_dim": 3, "hidden": (HIDDEN,), "data_range": (low, high)}
    prior = make_gtm_vamp(make_encoder(), learned_weights=learned_weights, **settings)
    variables = random_variables(prior)
    params = variables["params"]
    axis = (-1, 1)
    grid = np.array([(a, b, c) for a in axis for b in axis for c in axis], np.float64)
    h = dense(params["head"], np.tanh(dense(params["trunk"]["Dense_0"], grid)))
    expected = encode(params["encoder"], low + (high - low) * expit(h))
    check_components(prior, variables, *expected)


@pytest.mark.parametrize("make_prior", [make_vamp, make_gtm_vamp])
def test_components_are_those_of_the_encoder_that_is_given(make_prior):
    """A function of plain JAX that returns a pair; the prior's own encoder wins where there is one."""
    encoder, key, z = make_encoder(), jax.random.key(0), jnp.ones((3, D))
    own = make_prior(encoder)
    variables = random_variables(own)
    encoder_variables = {"params": variables["params"]["encoder"]}
    others = {k: v for k, v in variables["params"].items() if k != "encoder"}

    def pair(x):
        posterior = encoder.apply(encoder_variables, x).distribution
        return posterior.loc, posterior.scale

    prior, given = make_prior(None), Given(encode=pair)
    made = jax.eval_shape(lambda: prior.init(key, z, given))["params"]
    assert jax.tree.map(jnp.shape, made) == jax.tree.map(jnp.shape, others)
    log_prob = jax.jit(lambda: prior.apply({"params": others}, z, given))()
    np.testing.assert_allclose(log_prob, jax.jit(own.apply)(variables, z), rtol=1e-6)
    wrong = Given(encode=lambda x: pytest.fail("the prior has an encoder"))
    for unused in (Given(encode=None), wrong):
        ours = jax.jit(lambda unused=unused: own.apply(variables, z, unused))()
        np.testing.assert_allclose(ours, log_prob, rtol=1e-6)


@pytest.mark.parametrize("make_posterior", [
    lambda mean, scale: (mean, scale),
    lambda mean, scale: distrax.Independent(distrax.Normal(mean, scale), 1),
    distrax.MultivariateNormalDiag,
])  # fmt: skip
def test_diagonal_gaussians_are_read_in_three_forms(make_posterior):
    mean, scale = jnp.array([[1.0, 2.0]]), jnp.array([[0.3, 0.5]])
    parts = diagonal_gaussian(make_posterior(mean, scale))
    np.testing.assert_array_equal(parts, (mean, scale))
    for none in (distrax.Normal(mean, scale), distrax.Independent(distrax.Normal(mean, scale), 2)):
        assert diagonal_gaussian(none) is None


def test_the_effective_number_of_components_is_the_exponential_of_the_weights_entropy():
    logits = np.array([0.3, -1.0, 2.0, -np.inf])
    entropy = scipy.stats.entropy(np.exp(log_softmax(logits)))
    summary = GaussianMixture(D, num_components=4).summary({"logits": logits})
    np.testing.assert_allclose(summary["effective_components"], np.exp(entropy), rtol=1e-6)
    equal = make_vamp(make_encoder(), learned_weights=True).summary({"logits": np.zeros(C)})
    np.testing.assert_allclose(equal["effective_components"], C, rtol=1e-6)
    assert make_vamp(make_encoder()).summary({"pseudo_inputs": np.zeros((C, *SHAPE))}) == {}


def test_a_gtm_has_size_to_the_power_of_dim_components():
    for size, dim in ((5, 1), (4, 2), (1, 3), (2, 4)):
        prior = GTM(D, grid_size=size, grid_dim=dim, hidden=())
        components = jax.eval_shape(
            lambda prior=prior: prior.init_with_output(jax.random.key(0), method="components")[0]
        )
        assert components.mean.shape == (size**dim, D)


@pytest.mark.parametrize("make_prior", [make_vamp, make_gtm_vamp])
def test_the_encoder_is_in_a_model_s_parameters_once(make_prior):
    model, key = make_model(make_prior), jax.random.key(0)
    x = jnp.zeros((4, *SHAPE))
    params = jax.eval_shape(lambda: model.init(key, x, key))["params"]
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(params)]
    assert sum("encoder" in path for path in paths) == 4
    assert params.keys() == {"encoder", "decoder", "prior"}
    assert "encoder" not in params["prior"]
    # Also where the prior is what binds it.
    drawn = jax.eval_shape(lambda: model.init(key, key, 2, method="sample_latents"))["params"]
    assert drawn["encoder"] == params["encoder"]
    assert drawn["prior"] == params["prior"]


@pytest.mark.parametrize(
    ("make_prior", "objective"),
    [(make_vamp, ELBO(num_samples=3)), (make_gtm_vamp, DoublyReparameterised(3))],
    ids=["vamp, elbo", "gtm vamp, dreg"],
)
def test_components_are_encoded_once_per_step(make_prior, objective):
    model, key, x = make_model(make_prior), jax.random.key(0), jnp.zeros((4, *SHAPE))
    tx = transformation(
        Adam(), None, parameter_groups=model.parameter_groups, num_steps=100, scales={}
    )
    state = jax.eval_shape(lambda: initial_state(model, objective, tx, x, key))
    step = functools.partial(train_step, model=model, objective=objective, tx=tx)
    text = jax.jit(step).lower(state, x, key).compile().as_text()
    # Products of this shape are the hidden layer of the pseudo-inputs, and the gradient to it.
    assert len(re.findall(rf"= f32\[{C},{HIDDEN}\]\S* dot\(", text)) == 2


def data() -> np.ndarray:
    return np.random.default_rng(0).uniform(size=(20, *SHAPE)).astype(np.float32)


def start(prior, x, seed=0) -> np.ndarray:
    params = {"pseudo_inputs": jnp.full((C, *SHAPE), 0.5), "logits": jnp.zeros(C)}
    moved = prior.start_from(params, x, jax.random.key(seed))
    assert moved.keys() == params.keys()
    np.testing.assert_array_equal(moved["logits"], params["logits"])
    return np.asarray(moved["pseudo_inputs"])


def rows(drawn: np.ndarray, x: np.ndarray) -> list[int]:
    """Which examples were drawn."""
    equal = np.all(drawn[:, None] == x[None], axis=(2, 3, 4))
    assert np.all(np.sum(equal, axis=1) == 1)
    return list(np.argmax(equal, axis=1))


def test_pseudo_inputs_start_at_different_examples():
    prior, x = make_vamp(make_encoder(), from_data=True), data()
    drawn = [rows(start(prior, x, seed), x) for seed in range(20)]
    assert all(len(set(indices)) == C for indices in drawn)
    assert len({tuple(indices) for indices in drawn}) > 15
    assert set().union(*drawn) == set(range(20))
    assert set(rows(start(prior, x[:C]), x[:C])) == set(range(C))  # all of as many as there are


def test_pseudo_inputs_start_at_examples_with_replacement_where_there_are_too_few():
    prior, x = make_vamp(make_encoder(), from_data=True), data()[: C - 2]
    assert len(rows(start(prior, x), x)) == C


def test_pseudo_inputs_stay_where_they_are_unless_they_are_to_start_from_data():
    np.testing.assert_array_equal(start(make_vamp(make_encoder()), data()), 0.5)


def test_a_run_starts_from_data():
    model = make_model(functools.partial(make_vamp, from_data=True))
    tx = transformation(
        Adam(), None, parameter_groups=model.parameter_groups, num_steps=100, scales={}
    )
    key = jax.random.key(0)
    state = jax.jit(lambda: initial_state(model, ELBO(), tx, data(), key))()
    pseudo_inputs = np.asarray(state.variables.params["prior"]["pseudo_inputs"])
    assert len(set(rows(pseudo_inputs, data()))) == C


def test_the_random_start_lies_in_the_range_and_every_pixel_can_move():
    prior = make_vamp(make_encoder(), data_range=(-2.0, -1.0), num_components=40)
    z = jnp.asarray(np.random.default_rng(0).normal(size=(50, D)), jnp.float32)
    variables = jax.jit(lambda: prior.init(jax.random.key(0), z))()
    pseudo_inputs = variables["params"]["pseudo_inputs"]
    assert np.all((pseudo_inputs > -2.0) & (pseudo_inputs < -1.0))
    _, _, gradients = quick_value_and_gradients(prior, variables, z)
    assert np.mean(gradients["pseudo_inputs"] != 0.0) > 0.95  # a few of the encoder's units rest
    assert len(np.unique(pseudo_inputs, axis=0)) == 40


def test_descent_through_the_clip_is_projected_descent():
    """A pixel rests at its bound while the loss wants it outside, and comes back when it does not."""
    target = np.array([-1.0, 0.3, 2.0])

    def descend(x, target, clip, num_steps):
        gradient = jax.grad(lambda x: 0.5 * jnp.sum((clip(x) - target) ** 2))
        return jax.lax.fori_loop(0, num_steps, lambda _, x: x - 0.4 * gradient(x), x)

    ours = functools.partial(clip, low=0.0, high=1.0)
    at_bounds = descend(jnp.array([0.1, 0.5, 0.9]), target, ours, 50)
    np.testing.assert_allclose(ours(at_bounds), [0.0, 0.3, 1.0], atol=1e-6)
    assert np.all(np.abs(at_bounds - ours(at_bounds)) < 0.5)  # at most one step outside
    back = descend(at_bounds, np.full(3, 0.6), ours, 50)
    np.testing.assert_allclose(back, 0.6, atol=1e-6)
    stuck = descend(at_bounds, np.full(3, 0.6), lambda x: jnp.clip(x, 0.0, 1.0), 50)
    assert np.sum(np.abs(stuck - 0.6) > 0.1) == 2  # what a plain clip does


class LogisticEncoder(nn.Module):
    """An encoder with the mean and standard deviation of no Gaussian."""

    @nn.compact
    def __call__(self, x):
        mean = nn.Dense(D)(x.reshape(len(x), -1))
        return distrax.Independent(distrax.Logistic(mean, jnp.ones_like(mean)), 1)


def evaluate(prior):
    return jax.eval_shape(lambda: prior.init(jax.random.key(0), jnp.zeros(D)))


ERRORS = {
    "no component": (
        lambda: make_vamp(make_encoder(), num_components=0),
        "num_components must be at least 1, got 0.",
    ),
    "encoder of another size": (
        lambda: make_vamp(make_encoder(3)),
        "encoder.dim = 3 and latent_dim = 2 must be the same number.",
    ),
    "encoder of another size, gtm-vamp": (
        lambda: make_gtm_vamp(make_encoder(3)),
        "encoder.dim = 3 and latent_dim = 2 must be the same number.",
    ),
    "network of another size": (
        lambda: GTM(D, network=make_encoder(3)),
        "network.dim = 3 and latent_dim = 2 must be the same number.",
    ),
    "empty range": (
        lambda: make_vamp(make_encoder(), data_range=(1.0, 0.0)),
        "data_range must be (low, high), finite and low < high, got (1.0, 0.0).",
    ),
    "infinite range": (
        lambda: make_gtm_vamp(make_encoder(), data_range=(0.0, np.inf)),
        "data_range must be (low, high), finite and low < high, got (0.0, inf).",
    ),
    "no encoder": (
        lambda: evaluate(make_vamp(None)),
        "VampPrior has no encoder: set its field encoder, or pass Given(encode=encode).",
    ),
    "a model's encoder of another size": (
        lambda: jax.eval_shape(
            lambda key: make_model(lambda _: VampPrior(3, SHAPE)).init(
                key, jnp.zeros((4, *SHAPE)), key
            ),
            jax.random.key(0),
        ),
        "encoder.dim = 2 and prior.latent_dim = 3 must be the same number.",
    ),
    "no grid": (lambda: GTM(D, grid_size=0), "grid_size must be at least 1, got 0."),
    "grid of too many dimensions": (
        lambda: GTM(D, grid_size=10, grid_dim=5),
        "grid_dim must be at most 4, got 5: there would be grid_size ** grid_dim = 10 ** 5 = "
        "100000 components.",
    ),
    "grid of no dimension": (
        lambda: GTM(D, grid_size=3, grid_dim=0),
        "grid_dim must be at least 1, got 0.",
    ),
    "grid of too many dimensions, gtm-vamp": (
        lambda: make_gtm_vamp(make_encoder(), grid_size=3, grid_dim=6),
        "grid_dim must be at most 4, got 6: there would be grid_size ** grid_dim = 3 ** 6 = 729 "
        "components.",
    ),
    "no Gaussian": (
        lambda: evaluate(make_vamp(LogisticEncoder())),
        "encoder must return diagonal Gaussians, distrax.Independent(distrax.Normal(mean, scale), 1) "
        "or a pair (mean, scale), of which the mixture is made, not Independent(Logistic).",
    ),
    "no distribution": (
        lambda: evaluate(GTM(D, network=MLP((D,)))),
        "network must return diagonal Gaussians, distrax.Independent(distrax.Normal(mean, scale), 1) "
        "or a pair (mean, scale), of which the mixture is made, not DynamicJaxprTracer.",
    ),
    "pixels taken for examples": (
        lambda: evaluate(make_vamp(make_encoder(event_ndims=1))),
        "encoder gives means of shape (5, 3, 2, 2) for 5 inputs of shape (3, 2, 1), not (5, 2): set "
        "its size to latent_dim, and event_ndims of its trunk to the number of axes of one input.",
    ),
    "examples of another shape at the start": (
        lambda: start(make_vamp(make_encoder(), from_data=True), np.zeros((9, 2, 3, 1))),
        "pseudo-inputs have the shape (3, 2, 1) and examples (2, 3, 1): set the prior's shape to "
        "that of one example.",
    ),
    "pseudo-inputs of another shape than the model's examples": (
        lambda: jax.eval_shape(
            lambda key: make_model(lambda _: VampPrior(D, (2, 2, 1), num_components=5)).init(
                key, jnp.zeros((4, *SHAPE)), key
            ),
            jax.random.key(0),
        ),
        "pseudo-inputs of shape (2, 2, 1) do not fit the encoder, which is made for other examples: "
        "set the prior's shape to that of one example.",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_are_one_sentence(case):
    wrong, sentence = ERRORS[case]
    with pytest.raises(ValueError, match=re.escape(sentence)) as error:
        wrong()
    assert str(error.value).count(". ") == 0
    assert str(error.value).endswith(".")
