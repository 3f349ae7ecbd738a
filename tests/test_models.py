"""The contract of `vaelab.models.base`, one table over all models: a new model is a new row."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from oracles import critical_value, z_scores
from two_level import TwoLevel

from vaelab.checks import UndefinedError
from vaelab.likelihoods import BernoulliDecoder, GaussianDecoder, PoissonDecoder
from vaelab.models import (
    VAE,
    VLAE,
    AllLevels,
    BottomLevel,
    ConvDRAW,
    DeepHierarchy,
    Model,
    TopDownVAE,
)
from vaelab.networks import (
    MLP,
    AdditiveEncoder,
    BernoulliUnits,
    ConditionalFlow,
    ConditionalGaussian,
    DeconvNet,
    Downsample,
    GaussianUnits,
    Identity,
    LadderEncoder,
    LadderGenerator,
    LowerPriors,
    TopDownEncoder,
    Upsample,
)
from vaelab.priors import (
    BernoulliPrior,
    GaussianMixture,
    HierarchicalPrior,
    StandardNormal,
    VampPrior,
)
from vaelab.types import Examples

SHAPE, B, K, D = (4, 4, 1), 3, 4, 2
RNG = np.random.default_rng(0)
X = RNG.integers(0, 2, (B, *SHAPE)).astype(np.float32)
CONTEXT = RNG.uniform(size=(B, 4, 4, 2)).astype(np.float32)
KEY = jax.random.key(0)


def vae(prior, encoder=ConditionalGaussian, decoder=BernoulliDecoder) -> VAE:
    trunk = MLP((5,), event_ndims=3, activation=jnp.tanh)  # units of a relu may be dead
    return VAE(encoder(trunk, D), decoder(MLP((5,), activation=jnp.tanh), SHAPE), prior)


def convdraw(**fields) -> ConvDRAW:
    decoder = BernoulliDecoder(Identity(), SHAPE)
    return ConvDRAW(
        decoder, num_steps=2, hidden=3, latent_channels=2, canvas_channels=2, downsample=2, **fields
    )


def deep(prior, **fields) -> DeepHierarchy:
    shapes = dict(downsample=(2, 1), num_levels=(2, 1), hidden=(4, 3), inner=(3, 2))
    sizes = dict(latent_channels=1, encoder_blocks=1, canvas_channels=2)
    return DeepHierarchy(BernoulliDecoder(Identity(), SHAPE), prior, **shapes | sizes | fields)


def two_level(prior) -> TwoLevel:
    encoder = lambda dim: ConditionalGaussian(MLP((5,), event_ndims=3, activation=jnp.tanh), dim)  # noqa: E731
    between = ConditionalGaussian(MLP((4,), activation=jnp.tanh), 3)
    decoder = BernoulliDecoder(MLP((5,), activation=jnp.tanh), SHAPE)
    return TwoLevel(encoder(D), encoder(3), between, decoder, prior)


def top_down(units, encoder, prior, reads=BottomLevel()) -> TopDownVAE:  # noqa: B008
    lower_priors = LowerPriors((MLP((4,), activation=jnp.tanh),))
    decoder = BernoulliDecoder(MLP((5,), activation=jnp.tanh), SHAPE)
    return TopDownVAE(units, encoder, lower_priors, decoder, prior, reads)


def trunks():
    return MLP((4,), activation=jnp.tanh), MLP((5,), activation=jnp.tanh)


def conditional_encoder() -> TopDownEncoder:
    net = MLP((4,), activation=jnp.tanh)
    return TopDownEncoder(trunks(), above=(net,), joint=(net,))


GAUSSIANS = GaussianUnits(D), GaussianUnits(3)


def vlae(prior) -> VLAE:
    mlp = lambda: MLP((5,), activation=jnp.tanh)  # noqa: E731
    return VLAE(
        LadderEncoder((mlp(), mlp()), (D, 3)),
        LadderGenerator((mlp(), mlp())),
        BernoulliDecoder(MLP(()), SHAPE),
        prior,
    )


def convolutional_vlae(prior) -> VLAE:
    return VLAE(
        LadderEncoder((MLP((5,), event_ndims=3, activation=jnp.tanh), Downsample(2)), (D, 3)),
        LadderGenerator((DeconvNet((2, 2), (2,), 2), Upsample(2))),
        GaussianDecoder(Identity(), SHAPE),
        prior,
    )


MODELS: dict[str, Callable[[], Model]] = {
    "standard normal": lambda: vae(StandardNormal(D)),
    "mixture": lambda: vae(GaussianMixture(D, num_components=3), decoder=GaussianDecoder),
    "vamp": lambda: vae(VampPrior(D, SHAPE, num_components=3)),
    "hierarchical": lambda: vae(HierarchicalPrior(D, num_samples=2, hidden=(3,))),
    "flow posterior": lambda: vae(StandardNormal(D), ConditionalFlow),
    "two levels, vamp on top": lambda: two_level(VampPrior(D, SHAPE, num_components=3)),
    "shared encoder": lambda: top_down(
        GAUSSIANS, AdditiveEncoder(trunks()), HierarchicalPrior(D, num_samples=2, hidden=(3,))
    ),
    "conditional encoder": lambda: top_down(
        GAUSSIANS, conditional_encoder(), VampPrior(D, SHAPE, num_components=3), AllLevels()
    ),
    "bits, merged on top": lambda: top_down(
        (BernoulliUnits(D), BernoulliUnits(3)),
        AdditiveEncoder(trunks(), merge_top=True),
        BernoulliPrior(D),
    ),
    "vlae, vamp on top": lambda: vlae(VampPrior(D, SHAPE, num_components=3)),
    "vlae, convolutional": lambda: convolutional_vlae(
        HierarchicalPrior(D, num_samples=2, hidden=(3,))
    ),
    "convdraw": convdraw,
    "deep, vamp on top": lambda: deep(VampPrior(D, SHAPE, num_components=3)),
    "convdraw, conditional": lambda: convdraw(context_channels=2),
}


class Case(NamedTuple):
    model: Model
    params: dict

    @property
    def bound(self) -> Model:
        return self.model.at(self.params)

    @property
    def context(self):
        return CONTEXT if self.model.conditional else None

    @property
    def own_levels(self) -> range:
        """The levels that have densities of their own."""
        if isinstance(self.model, VLAE):
            return range(len(self.model.latent_dims))
        return range(0 if self.model.conditional else 1)


@functools.cache
def make(name: str) -> Case:
    """A model with random parameters, none of them zero."""
    model = MODELS[name]()
    context = CONTEXT if model.conditional else None
    shapes = jax.eval_shape(lambda: model.init(KEY, X, KEY, context=context))["params"]
    rng = np.random.default_rng(1)
    draw = lambda leaf: jnp.asarray(0.4 * rng.normal(size=leaf.shape), leaf.dtype)  # noqa: E731
    return Case(model, jax.tree.map(draw, shapes))


@pytest.fixture(params=MODELS)
def case(request) -> Case:
    return make(request.param)


@functools.partial(jax.jit, static_argnums=(0, 3))
def run(model, params, context, num_samples, key):
    """Terms, with E[x|z] for the likelihood, and every log-probability of their latents and of x."""
    bound = model.at(params)
    encoding = bound.encode(X, context)
    terms = bound.terms(encoding, X, key, num_samples)
    density = {
        "likelihood": bound.decode(terms.latents, context).log_prob(X),
        "posterior": bound.log_posterior(encoding, terms.latents),
        "prior": bound.log_prior(terms.latents, jax.random.key(7), context),
    }
    return terms._replace(likelihood=terms.likelihood.mean()), density


def test_shapes_and_levels(case):
    terms, density = run(*case, case.context, K, KEY)
    dims = case.model.latent_dims
    assert [z.shape for z in terms.latents] == [(K, B, dim) for dim in dims]
    assert [rate.shape for rate in terms.rate] == [(K, B)] * len(dims)
    for kl, dim in zip(terms.kl, dims, strict=True):
        assert kl is None or kl.shape == (B, dim)
    assert {value.shape for value in density.values()} == {(K, B)}
    assert terms.likelihood.shape == (K, B, *SHAPE)
    assert tuple(case.model.decoder.shape) == SHAPE


def test_log_weights_are_log_joint_minus_log_posterior(case):
    model = case.model.with_prior_samples(3000)
    terms, density = run(model, case.params, case.context, K, KEY)
    np.testing.assert_allclose(-terms.distortion, density["likelihood"], rtol=1e-5, atol=1e-5)
    log_joint = density["likelihood"] + density["prior"]
    tolerance = 1e-4 if model.exact else 0.1  # two estimates of log p(z)
    np.testing.assert_allclose(terms.log_weights, log_joint - density["posterior"], atol=tolerance)


def test_closed_form_kl_is_the_mean_of_the_sampled_rate(case):
    terms, _ = run(*case, case.context, 4000, KEY)
    for rate, kl in zip(terms.rate, terms.kl, strict=True):
        if kl is not None:
            z = z_scores(np.asarray(rate), np.sum(kl, axis=-1))
            assert np.all(np.abs(z) < critical_value(z.size))


def test_encoding_once_equals_encoding_each_time(case):
    once = run(*case, case.context, K, KEY)[0]
    call = jax.jit(lambda params: case.model.at(params)(X, KEY, K, context=case.context))
    again = call(case.params)
    for name in ("distortion", "rate", "latents"):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6),
            getattr(once, name),
            getattr(again, name),
        )


def test_samples_of_the_prior_decode_to_likelihoods(case):
    context = None if case.context is None else np.repeat(CONTEXT[:1], 7, axis=0)

    def sample(params, key):
        bound = case.model.at(params)
        latents, auxiliary = bound.sample_joint(key, 7, context)
        return (
            latents,
            bound.sample_latents(key, 7, context),
            bound.decode(latents, context).mean(),
            bound.log_joint_prior(latents, auxiliary, context),
            bound.log_prior(latents, key, context),
        )

    latents, again, images, log_joint, log_prior = jax.jit(sample)(case.params, KEY)
    assert [z.shape for z in latents] == [(7, dim) for dim in case.model.latent_dims]
    jax.tree.map(np.testing.assert_array_equal, latents, again)
    assert images.shape == (7, *SHAPE)
    assert log_joint.shape == log_prior.shape == (7,)
    if case.model.exact:
        np.testing.assert_allclose(log_joint, log_prior, rtol=1e-5)
    assert case.model.exact == (case.model.prior_samples is None)


def test_vmap_over_parameters(case):
    other = jax.tree.map(lambda leaf: leaf[::-1] * 1.1, case.params)
    stacked = jax.tree.map(lambda a, b: jnp.stack([a, b]), case.params, other)
    elbo = jax.jit(
        lambda params: case.model.at(params)(X, KEY, K, context=case.context).log_weights
    )
    both = jax.jit(jax.vmap(elbo))(stacked)
    for params, values in zip((case.params, other), both, strict=True):
        np.testing.assert_allclose(values, elbo(params), rtol=1e-5, atol=1e-5)


def gradients(case):
    """Gradients of the mean distortion and of the mean rate with respect to the parameters."""

    @jax.jit
    def both(params):
        def means(params):
            terms = case.model.at(params)(X, KEY, K, context=case.context)
            return jnp.mean(terms.distortion), jnp.mean(terms.total_rate)

        return jax.jacrev(means)(params)

    return both(case.params)


def test_groups_partition_the_parameters_and_the_prior_has_no_distortion(case):
    groups = case.model.parameter_groups(case.params)
    assert set(groups) == set(case.params)
    assert set(groups.values()) <= {"model", "prior"}
    distortion, rate = gradients(case)
    for leaf in jax.tree.leaves((distortion, rate)):
        assert np.all(np.isfinite(leaf))
    moved = {
        name: any(np.any(leaf) for leaf in jax.tree.leaves(distortion[name])) for name in groups
    }
    assert any(moved[name] for name, group in groups.items() if group == "model")
    for name, group in groups.items():
        if group == "prior":
            assert not moved[name], name
            assert any(np.any(leaf) for leaf in jax.tree.leaves(rate[name])), name


def moved(gradient) -> set[str]:
    """Names of the top-level entries whose gradient is not zero."""
    return {
        name for name, g in gradient.items() if any(np.any(leaf) for leaf in jax.tree.leaves(g))
    }


def test_posterior_parameters_are_those_that_only_the_posterior_has(case):
    """Gradients at constant latents, so that no path leads through a sample."""
    latents = run(*case, case.context, K, KEY)[0].latents

    @jax.jit
    def gradients(params):
        def densities(params):
            bound = case.model.at(params)
            return (
                bound.log_posterior(bound.encode(X, case.context), latents).mean(),
                bound.decode(latents, case.context).log_prob(X).mean(),
                bound.log_prior(latents, KEY, case.context).mean(),
            )

        return jax.jacrev(densities)(params)

    posterior, likelihood, prior = map(moved, gradients(case.params))
    names = set(case.model.posterior_parameters)
    assert names <= posterior
    assert not names & likelihood
    assert set(case.params) - names <= likelihood | prior


def assert_trees_close(first, second):
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)  # noqa: E731
    jax.tree.map(close, first, second)


def everything(bound, context):
    """One number of which all parameters are a part, for samples with and without a path."""
    terms = bound(X, KEY, K, context=context)
    latents = jax.lax.stop_gradient(terms.latents)
    log_joint = bound.log_prior(latents, KEY, context) + bound.decode(latents, context).log_prob(X)
    return jnp.mean(terms.log_weights) + jnp.mean(log_joint)


def test_with_gradient_in_stops_the_gradient_of_the_other_parameters_and_changes_no_value(case):
    names = case.model.posterior_parameters

    @jax.jit
    def values_and_gradients(params):
        def value(hold, params):
            bound = case.model.at(params)
            return everything(bound.with_gradient_in(names) if hold else bound, case.context)

        return [jax.value_and_grad(functools.partial(value, h))(params) for h in (True, False)]

    (held_value, held), (value, live) = values_and_gradients(case.params)
    np.testing.assert_allclose(held_value, value, rtol=1e-6)
    assert moved(held) == set(names)
    assert moved(live) == set(case.params)
    for name in names:
        assert_trees_close(held[name], live[name])


def test_with_gradient_in_works_in_a_method_in_init_and_under_vmap():
    class Held(VAE):
        def decode(self, latents, context=None):
            return VAE.decode(self.with_gradient_in(()), latents, context)

        def __call__(self, x, key, num_samples=1, weights=None, context=None):
            terms = super().__call__(x, key, num_samples, weights, context)
            return terms._replace(distortion=-self.decode(terms.latents).log_prob(x))

    case = make("standard normal")
    model = Held(case.model.encoder, case.model.decoder, case.model.prior)
    fresh = jax.eval_shape(lambda: model.init(KEY, X, KEY))["params"]
    assert jax.tree.structure(fresh) == jax.tree.structure(case.params)

    def distortion(model, params):
        return jnp.mean(model.at(params)(X, KEY, K).distortion)

    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, 1.1 * leaf]), case.params)
    gradient = lambda model: jax.vmap(jax.value_and_grad(functools.partial(distortion, model)))  # noqa: E731
    (held_values, held), (values, live) = gradient(model)(stacked), gradient(case.model)(stacked)
    np.testing.assert_allclose(held_values, values, rtol=1e-6)
    assert moved(held) == {"encoder"}
    assert moved(live) == {"encoder", "decoder"}
    assert_trees_close(held["encoder"], live["encoder"])


def test_antithetic_pairs_differ_in_the_noise_of_their_level_alone(case):
    """Else the model has no Bernoulli level, and says so."""
    levels, num_pairs = case.model.bernoulli_levels, 2
    if not levels:
        encoding = case.bound.encode(X, case.context)
        with pytest.raises(
            UndefinedError, match="has no Bernoulli level, so DisARM has no meaning"
        ):
            case.bound.antithetic_terms(encoding, X, KEY, num_pairs)
        return

    @jax.jit
    def draw(params):
        bound = case.model.at(params)
        encoding = bound.encode(X, case.context)
        terms, logits = bound.antithetic_terms(encoding, X, KEY, num_pairs)
        log_q = bound.log_posterior(encoding, terms.latents)
        log_p = bound.log_prior(terms.latents, KEY, case.context)
        log_p += bound.decode(terms.latents, case.context).log_prob(X)
        return terms._replace(likelihood=None), logits, log_p - log_q

    terms, logits, log_weights = draw(case.params)
    shape = (len(levels), 2, num_pairs, B)
    if case.model.exact:
        np.testing.assert_allclose(terms.log_weights, log_weights, rtol=1e-4, atol=1e-4)
    dims = case.model.latent_dims
    for level, dim in enumerate(dims):
        assert terms.latents[level].shape == (np.prod(shape[:3]), B, dim)
        if level not in levels:
            assert logits[level] is None
            continue
        assert logits[level].shape == (num_pairs, B, dim)
        assert set(np.unique(np.asarray(terms.latents[level]))) <= {0.0, 1.0}
    for number, level in enumerate(levels):
        for above in range(level):
            pairs = terms.latents[above].reshape(*shape, dims[above])[number]
            np.testing.assert_array_equal(pairs[0], pairs[1])
        first, second = np.asarray(terms.latents[level]).reshape(*shape, dims[level])[number]
        likely = logits[level] > 0  # u and 1 − u: one of both bits is the likely one
        assert np.all(
            np.where(likely, np.maximum(first, second), np.minimum(first, second)) == likely
        )


def test_a_level_has_densities_of_its_own_or_the_reason_why_not(case):
    num_levels = len(case.model.latent_dims)
    encoding = case.bound.encode(X, case.context)
    for level in range(case.own_levels.stop, num_levels):
        z = jnp.zeros(case.model.latent_dims[level])
        for density in (
            lambda level=level: case.model.level_factorises(level),
            lambda level=level: case.bound.level_posterior(encoding, level),
            lambda level=level, z=z: case.bound.level_log_prior(z, level),
        ):
            with pytest.raises(UndefinedError, match=f"level {level} of .* has no density of its"):
                density()
    with pytest.raises(ValueError, match=f"level must lie in 0 to {num_levels - 1}"):
        case.model.level_factorises(num_levels)


def test_densities_of_a_level_are_those_of_its_rate(case):
    if not case.model.exact:
        return

    @jax.jit
    def rates(params):
        bound = case.model.at(params)
        encoding = bound.encode(X, case.context)
        terms = bound.terms(encoding, X, KEY, K)
        return [
            (
                terms.rate[level],
                bound.level_posterior(encoding, level).log_prob(terms.latents[level])
                - bound.level_log_prior(terms.latents[level], level),
            )
            for level in case.own_levels
        ]

    for rate, expected in rates(case.params):
        np.testing.assert_allclose(rate, expected, rtol=1e-4, atol=1e-5)


def test_samples_of_a_level_have_its_prior_density(case):
    """Each coordinate's samples against the density on a line, for priors that factorise."""
    if case.model.conditional or not case.model.level_factorises():
        return
    if 0 in case.model.bernoulli_levels:
        z = np.asarray(case.bound.sample_latents(KEY, 4000)[0], np.float64)
        ones = np.exp(
            case.bound.level_log_prior(jnp.eye(D)) - case.bound.level_log_prior(0 * jnp.eye(D))
        )
        scores = z_scores(z, ones / (1 + ones))
        assert np.all(np.abs(scores) < critical_value(scores.size))
        return
    dim = case.model.latent_dims[0]
    z = np.asarray(case.bound.sample_latents(KEY, 4000)[0])
    line = np.linspace(-8, 8, 400)
    for level in filter(case.model.level_factorises, case.own_levels):
        dim = case.model.latent_dims[level]
        z = np.asarray(case.bound.sample_latents(KEY, 4000)[level])
        grid = np.zeros((dim, 400, dim), np.float32)
        grid[np.arange(dim), :, np.arange(dim)] = line
        density = np.exp(np.asarray(case.bound.level_log_prior(grid, level), np.float64))
        cumulative = np.cumsum(density, axis=1) / np.sum(density, axis=1, keepdims=True)
        for d in range(dim):
            cdf = lambda values, c=cumulative[d]: np.interp(values, line, c)  # noqa: E731
            assert scipy.stats.kstest(z[:, d], cdf).pvalue > 1e-3 / dim


def test_all_levels_drawn_anew_in_their_order_are_a_sample_of_the_prior(case):
    num = 4000
    context = None if case.context is None else CONTEXT[:1]

    @jax.jit
    def sample(params, key):
        bound = case.model.at(params)
        expected = bound.sample_latents(key, num, context)
        latents = tuple(jnp.full_like(z, 3.0) for z in expected)
        rounds = []
        for level in range(len(expected)):
            latents = bound.resample_level(jax.random.fold_in(key, level), latents, level, context)
            rounds.append(latents)
        return expected, rounds

    expected, rounds = sample(case.params, KEY)
    for level, latents in enumerate(rounds):
        for other, z in enumerate(latents):
            before = rounds[level - 1][other] if level else jnp.full_like(z, 3.0)
            assert np.array_equal(z, before) == (other != level)
    joint = [np.concatenate(latents, axis=1, dtype=float) for latents in (expected, rounds[-1])]
    for moment in (lambda z: z, lambda z: z[:, :, None] * z[:, None]):
        ours, theirs = (moment(z).reshape(num, -1) for z in joint)
        error = np.sqrt((ours.var(axis=0) + theirs.var(axis=0)) / num)
        z = (ours.mean(axis=0) - theirs.mean(axis=0)) / error
        assert np.all(np.abs(z) < critical_value(z.size))


def test_latents_that_are_no_tuple_of_levels_are_refused(case):
    dims = case.model.latent_dims
    wrong = [jnp.zeros((B, dims[0])), tuple(jnp.zeros((B, dim + 1)) for dim in dims)]
    for latents in wrong:
        with pytest.raises(ValueError, match=f"latents must be a tuple of {len(dims)} arrays"):
            case.bound.decode(latents, case.context)


def test_data_that_do_not_fit_are_refused(case):
    context = case.context
    case.model.check_data(Examples(X, context=context))
    for wrong in (X[:, :2], X.transpose(0, 3, 1, 2), X.reshape(B, -1)):
        with pytest.raises(ValueError, match=r"x holds events of shape .*: make them the same"):
            case.bound.encode(wrong, context)
    with pytest.raises(ValueError, match=r"shape \(2, 4, 1\), and model\.decoder\.shape is \(4, 4"):
        case.model.check_data(Examples(X[:, :2], context=context))
    _low, high = case.model.decoder.data_range
    if np.isfinite(high):
        with pytest.raises(ValueError, match=r"x holds 255 in image \d+, outside \[0, 1\]"):
            case.model.check_data(Examples(255 * X, context=context))
    with pytest.raises(ValueError, match="context"):
        case.model.check_data(Examples(X, context=None if case.model.conditional else CONTEXT))


SHARDED = """
import os
os.environ["XLA_FLAGS"] += " --xla_backend_optimization_level=0"  # it compiles faster than it runs
os.environ["XLA_FLAGS"] += " --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
import jax, numpy as np, sys
from jax.sharding import NamedSharding, PartitionSpec
sys.path.insert(0, "tests")
import test_models
from vaelab.training.sharding import make_mesh, replicate
assert jax.device_count() == 3
for name in test_models.MODELS:
    case = test_models.make(name)
    mesh = make_mesh()
    split = NamedSharding(mesh, PartitionSpec("data"))
    elbo = jax.jit(lambda params, x, context: case.model.at(params)(
        x, test_models.KEY, 2, context=context).log_weights)
    one = elbo(case.params, test_models.X, case.context)
    arguments = jax.device_put((test_models.X, case.context), split)
    many = elbo(replicate(case.params, mesh), *arguments)
    np.testing.assert_allclose(one, many, rtol=1e-5, atol=1e-5)
    print(name)
"""


def test_a_batch_split_over_devices_gives_the_same_terms(command):
    result = command("-c", SHARDED, devices=3)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == list(MODELS)


@pytest.mark.parametrize("name", ["two levels, vamp on top", "vlae, vamp on top"])
def test_a_vamp_prior_on_top_is_a_mixture_of_the_top_posteriors(name):
    case = make(name)
    z = np.random.default_rng(5).normal(size=(7, D)).astype(np.float32)
    pseudo_inputs = np.clip(case.params["prior"]["pseudo_inputs"], 0, 1)
    posterior = case.bound.level_posterior(case.bound.encode(pseudo_inputs))
    mean, scale = (np.asarray(v, np.float64) for v in (posterior.mean(), posterior.stddev()))
    each = scipy.stats.norm.logpdf(z[:, None], mean, scale).sum(-1)
    expected = np.log(np.mean(np.exp(each), axis=1))
    np.testing.assert_allclose(case.bound.level_log_prior(z), expected, rtol=1e-4, atol=1e-5)


def test_a_decoder_that_is_no_decoder_is_refused():
    with pytest.raises(ValueError, match=r"decoder = MLP must be a likelihoods\.Decoder"):
        VAE(ConditionalGaussian(MLP((2,)), D), MLP((2,)), StandardNormal(D))


def test_values_that_the_likelihood_cannot_have_are_refused():
    nan = X.copy()
    nan[1, 0, 0] = np.nan
    with pytest.raises(ValueError, match="x holds nan in image 1: repair or remove that image"):
        make("mixture").model.check_data(Examples(nan))
    counts = vae(StandardNormal(D), decoder=PoissonDecoder)
    with pytest.raises(ValueError, match="not all counts 0, 1, 2"):
        counts.check_data(Examples(X + 0.5))
    make("standard normal").model.check_data(Examples(0.5 * X))  # grey bits: a cross-entropy
