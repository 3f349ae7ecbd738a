"""The contract of `vaelab.models.base`, one table over all models: a new model is a new row."""

from __future__ import annotations

import functools
import itertools
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
MANY = 4000  # samples, for statistics
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
    name: str = ""  # of its row

    @property
    def bound(self) -> Model:
        return self.model.at(self.params)

    @property
    def context(self):
        return CONTEXT if self.model.conditional else None

    @property
    def own_levels(self) -> range:
        return own_levels(self.model)


def own_levels(model: Model) -> range:
    """The levels that have densities of their own."""
    if isinstance(model, VLAE):
        return range(len(model.latent_dims))
    return range(0 if model.conditional else 1)


@functools.cache
def make(name: str) -> Case:
    """A model with random parameters, none of them zero."""
    model = MODELS[name]()
    context = CONTEXT if model.conditional else None
    shapes = jax.eval_shape(lambda: model.init(KEY, X, KEY, context=context))["params"]
    rng = np.random.default_rng(1)
    draw = lambda leaf: jnp.asarray(0.4 * rng.normal(size=leaf.shape), leaf.dtype)  # noqa: E731
    return Case(model, jax.tree.map(draw, shapes), name)


@pytest.fixture(params=MODELS)
def case(request) -> Case:
    return make(request.param)


# Most models take longer to trace and to compile than to run, so tests share the programs of a row.


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
    if model.exact:
        for level in own_levels(model):
            z = terms.latents[level]
            log_posterior = bound.level_posterior(encoding, level).log_prob(z)
            density[f"rate {level}"] = log_posterior - bound.level_log_prior(z, level)
    return terms._replace(likelihood=terms.likelihood.mean()), density


def run_many(case):
    return run(case.model, case.params, case.context, MANY, KEY)


@functools.cache
def call(name: str):
    """params -> terms without the likelihood, by the model's `__call__`. Jitted."""
    case = make(name)
    return jax.jit(
        lambda params: case.model.at(params)(X, KEY, MANY, context=case.context)._replace(
            likelihood=None
        )
    )


class FromPrior(NamedTuple):
    """Samples of p(z), and what seven of them decode to."""

    latents: tuple  # `sample_latents`, with one context
    joint: tuple  # z of `sample_joint`, with a context for each sample
    rounds: list[tuple]  # the latents after each level is resampled, from all 3
    images: jax.Array  # [7, *SHAPE]
    log_joint: jax.Array  # [7]
    log_prior: jax.Array  # [7]


@functools.cache
def from_prior(name: str) -> FromPrior:
    case = make(name)
    one = None if case.context is None else CONTEXT[:1]

    @jax.jit
    def sample(params, key):
        bound = case.model.at(params)
        contexts, few = (None if one is None else np.repeat(one, n, axis=0) for n in (MANY, 7))
        expected = bound.sample_latents(key, MANY, one)
        joint, auxiliary = bound.sample_joint(key, MANY, contexts)
        latents, auxiliary = jax.tree.map(lambda leaf: leaf[:7], (joint, auxiliary))
        anew, rounds = tuple(jnp.full_like(z, 3.0) for z in expected), []
        for level in range(len(expected)):
            anew = bound.resample_level(jax.random.fold_in(key, level), anew, level, one)
            rounds.append(anew)
        return FromPrior(
            expected,
            joint,
            rounds,
            bound.decode(latents, few).mean(),
            bound.log_joint_prior(latents, auxiliary, few),
            bound.log_prior(latents, key, few),
        )

    return sample(case.params, KEY)


PARTS = ("distortion", "rate", "posterior", "likelihood", "prior")


@functools.cache
def gradients(name: str) -> dict[bool, tuple[dict, dict]]:
    """{whether the other parameters are held: (values, gradients) of five means}.

    The first two are means of the terms. The other three are densities at constant latents, so that no
    path leads through a sample. One program has all gradients: the five means have weights.
    """
    case = make(name)

    @functools.partial(jax.jit, static_argnums=0)
    def value_and_gradient(hold, params, weights):
        def value(params):
            bound = case.model.at(params)
            bound = bound.with_gradient_in(case.model.posterior_parameters) if hold else bound
            terms = bound(X, KEY, K, context=case.context)
            latents = jax.lax.stop_gradient(terms.latents)
            means = {
                "distortion": terms.distortion.mean(),
                "rate": terms.total_rate.mean(),
                "posterior": bound.log_posterior(bound.encode(X, case.context), latents).mean(),
                "likelihood": bound.decode(latents, case.context).log_prob(X).mean(),
                "prior": bound.log_prior(latents, KEY, case.context).mean(),
            }
            return sum(weight * means[name] for name, weight in weights.items()), means

        gradient, means = jax.grad(value, has_aux=True)(params)
        return means, gradient

    def each(hold):
        one_hot = {part: {name: float(name == part) for name in PARTS} for part in PARTS}
        pairs = {part: value_and_gradient(hold, case.params, one_hot[part]) for part in PARTS}
        return pairs[PARTS[0]][0], {part: gradient for part, (_, gradient) in pairs.items()}

    return {hold: each(hold) for hold in (True, False)}


def test_shapes_and_levels(case):
    terms, density = run_many(case)
    dims = case.model.latent_dims
    assert [z.shape for z in terms.latents] == [(MANY, B, dim) for dim in dims]
    assert [rate.shape for rate in terms.rate] == [(MANY, B)] * len(dims)
    for kl, dim in zip(terms.kl, dims, strict=True):
        assert kl is None or kl.shape == (B, dim)
    assert {value.shape for value in density.values()} == {(MANY, B)}
    assert terms.likelihood.shape == (MANY, B, *SHAPE)
    assert tuple(case.model.decoder.shape) == SHAPE


def test_log_weights_are_log_joint_minus_log_posterior(case):
    model = case.model.with_prior_samples(3000)
    terms, density = run(model, case.params, case.context, MANY if model.exact else K, KEY)
    np.testing.assert_allclose(-terms.distortion, density["likelihood"], rtol=1e-5, atol=1e-5)
    log_joint = density["likelihood"] + density["prior"]
    tolerance = 1e-4 if model.exact else 0.1  # two estimates of log p(z)
    np.testing.assert_allclose(terms.log_weights, log_joint - density["posterior"], atol=tolerance)


def test_closed_form_kl_is_the_mean_of_the_sampled_rate(case):
    terms, _ = run_many(case)
    for rate, kl in zip(terms.rate, terms.kl, strict=True):
        if kl is not None:
            z = z_scores(np.asarray(rate), np.sum(kl, axis=-1))
            assert np.all(np.abs(z) < critical_value(z.size))


def test_encoding_once_equals_encoding_each_time(case):
    once = run_many(case)[0]
    again = call(case.name)(case.params)
    for name in ("distortion", "rate", "latents"):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6),
            getattr(once, name),
            getattr(again, name),
        )


def test_samples_of_the_prior_decode_to_likelihoods(case):
    drawn = from_prior(case.name)
    assert [z.shape for z in drawn.latents] == [(MANY, dim) for dim in case.model.latent_dims]
    jax.tree.map(np.testing.assert_array_equal, drawn.joint, drawn.latents)
    assert drawn.images.shape == (7, *SHAPE)
    assert drawn.log_joint.shape == drawn.log_prior.shape == (7,)
    if case.model.exact:
        np.testing.assert_allclose(drawn.log_joint, drawn.log_prior, rtol=1e-5)
    assert case.model.exact == (case.model.prior_samples is None)


def test_vmap_over_parameters(case):
    other = jax.tree.map(lambda leaf: leaf[::-1] * 1.1, case.params)
    stacked = jax.tree.map(lambda a, b: jnp.stack([a, b]), case.params, other)
    terms = call(case.name)
    both = jax.jit(jax.vmap(lambda params: terms(params).log_weights))(stacked)
    for params, values in zip((case.params, other), both, strict=True):
        np.testing.assert_allclose(values, terms(params).log_weights, rtol=1e-5, atol=1e-5)


def test_groups_partition_the_parameters_and_the_prior_has_no_distortion(case):
    groups = case.model.parameter_groups(case.params)
    assert set(groups) == set(case.params)
    assert set(groups.values()) <= {"model", "prior"}
    gradient = gradients(case.name)[False][1]
    for leaf in jax.tree.leaves(gradient):
        assert np.all(np.isfinite(leaf))
    distortion, rate = moved(gradient["distortion"]), moved(gradient["rate"])
    prior = {name for name, group in groups.items() if group == "prior"}
    assert distortion
    assert not distortion & prior
    assert prior <= rate


def moved(gradient) -> set[str]:
    """Names of the top-level entries whose gradient is not zero."""
    return {
        name for name, g in gradient.items() if any(np.any(leaf) for leaf in jax.tree.leaves(g))
    }


def test_posterior_parameters_are_those_that_only_the_posterior_has(case):
    gradient = gradients(case.name)[False][1]
    posterior, likelihood, prior = (
        moved(gradient[part]) for part in ("posterior", "likelihood", "prior")
    )
    names = set(case.model.posterior_parameters)
    assert names <= posterior
    assert not names & likelihood
    assert set(case.params) - names <= likelihood | prior


def assert_trees_close(first, second):
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)  # noqa: E731
    jax.tree.map(close, first, second)


def test_with_gradient_in_stops_the_gradient_of_the_other_parameters_and_changes_no_value(case):
    names = case.model.posterior_parameters
    (held_values, held), (values, live) = (gradients(case.name)[hold] for hold in (True, False))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), held_values, values)
    assert set().union(*map(moved, held.values())) == set(names)
    assert set().union(*map(moved, live.values())) == set(case.params)
    for part, name in itertools.product(held, names):
        assert_trees_close(held[part][name], live[part][name])


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


def traced(case, function):
    """`function` of the bound model and the encoding of X, traced but not run."""

    def encoded(params):
        bound = case.model.at(params)
        return function(bound, bound.encode(X, case.context))

    return jax.eval_shape(encoded, case.params)


def test_antithetic_pairs_differ_in_the_noise_of_their_level_alone(case):
    """Else the model has no Bernoulli level, and says so."""
    levels, num_pairs = case.model.bernoulli_levels, 2
    if not levels:
        refused = pytest.raises(UndefinedError, match="has no Bernoulli level, so DisARM has no m")
        with refused:
            traced(case, lambda bound, encoding: bound.antithetic_terms(encoding, X, KEY, 2))
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
    for level in range(case.own_levels.stop, num_levels):
        z = jnp.zeros(case.model.latent_dims[level])
        for density in (
            lambda level=level: case.model.level_factorises(level),
            lambda level=level: traced(
                case, lambda bound, encoding: bound.level_posterior(encoding, level)
            ),
            lambda level=level, z=z: case.bound.level_log_prior(z, level),
        ):
            with pytest.raises(UndefinedError, match=f"level {level} of .* has no density of its"):
                density()
    with pytest.raises(
        ValueError, match=r"level must be 0(, the only level of the model| \(top\) to \d), got"
    ):
        case.model.level_factorises(num_levels)


def test_densities_of_a_level_are_those_of_its_rate(case):
    if not case.model.exact:
        return

    terms, density = run_many(case)
    for level in case.own_levels:
        rate, expected = terms.rate[level], density[f"rate {level}"]
        np.testing.assert_allclose(rate, expected, rtol=1e-4, atol=1e-5)


def test_samples_of_a_level_have_its_prior_density(case):
    """Each coordinate's samples against the density on a line, for priors that factorise."""
    if case.model.conditional or not case.model.level_factorises():
        return
    log_prior = jax.jit(case.bound.level_log_prior, static_argnums=1)
    if 0 in case.model.bernoulli_levels:
        z = np.asarray(from_prior(case.name).latents[0], np.float64)
        ones = np.exp(log_prior(jnp.eye(D), 0) - log_prior(0 * jnp.eye(D), 0))
        scores = z_scores(z, ones / (1 + ones))
        assert np.all(np.abs(scores) < critical_value(scores.size))
        return
    line = np.linspace(-8, 8, 400)
    for level in filter(case.model.level_factorises, case.own_levels):
        dim = case.model.latent_dims[level]
        z = np.asarray(from_prior(case.name).latents[level])
        grid = np.zeros((dim, 400, dim), np.float32)
        grid[np.arange(dim), :, np.arange(dim)] = line
        density = np.exp(np.asarray(log_prior(grid, level), np.float64))
        cumulative = np.cumsum(density, axis=1) / np.sum(density, axis=1, keepdims=True)
        for d in range(dim):
            cdf = lambda values, c=cumulative[d]: np.interp(values, line, c)  # noqa: E731
            assert scipy.stats.kstest(z[:, d], cdf).pvalue > 1e-3 / dim


def test_all_levels_resampled_in_their_order_are_a_sample_of_the_prior(case):
    expected, rounds = from_prior(case.name).latents, from_prior(case.name).rounds
    for level, latents in enumerate(rounds):
        for other, z in enumerate(latents):
            before = rounds[level - 1][other] if level else jnp.full_like(z, 3.0)
            assert np.array_equal(z, before) == (other != level)
    joint = [np.concatenate(latents, axis=1, dtype=float) for latents in (expected, rounds[-1])]
    for moment in (lambda z: z, lambda z: z[:, :, None] * z[:, None]):
        ours, theirs = (moment(z).reshape(MANY, -1) for z in joint)
        error = np.sqrt((ours.var(axis=0) + theirs.var(axis=0)) / MANY)
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
import jax, numpy as np, sys
from jax.sharding import NamedSharding, PartitionSpec
sys.path.insert(0, "tests")
import test_models
from vaelab.training.sharding import make_mesh, replicate
assert jax.device_count() == 3
mesh = make_mesh()
split = NamedSharding(mesh, PartitionSpec("data"))
log_weights = {}
for name in test_models.MODELS:
    case = test_models.make(name)
    elbo = jax.jit(lambda params, x, context: case.model.at(params)(
        x, test_models.KEY, test_models.MANY, context=context).log_weights)
    arguments = jax.device_put((test_models.X, case.context), split)
    log_weights[name] = elbo(replicate(case.params, mesh), *arguments)
np.savez(sys.argv[1], **log_weights)
"""


def test_a_batch_split_over_devices_gives_the_same_terms(command, tmp_path):
    result = command("-c", SHARDED, tmp_path / "split.npz", devices=3, quick=True)
    assert result.returncode == 0, result.stderr
    many = np.load(tmp_path / "split.npz")
    assert list(many) == list(MODELS)
    for name in MODELS:
        one = call(name)(make(name).params).log_weights
        np.testing.assert_allclose(many[name], one, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["two levels, vamp on top", "vlae, vamp on top"])
def test_a_vamp_prior_on_top_is_a_mixture_of_the_top_posteriors(name):
    case = make(name)
    z = np.random.default_rng(5).normal(size=(7, D)).astype(np.float32)
    pseudo_inputs = np.clip(case.params["prior"]["pseudo_inputs"], 0, 1)

    @jax.jit
    def evaluate(params):
        bound = case.model.at(params)
        posterior = bound.level_posterior(bound.encode(pseudo_inputs))
        return posterior.mean(), posterior.stddev(), bound.level_log_prior(z)

    mean, scale, log_prior = (np.asarray(v, np.float64) for v in evaluate(case.params))
    each = scipy.stats.norm.logpdf(z[:, None], mean, scale).sum(-1)
    expected = np.log(np.mean(np.exp(each), axis=1))
    np.testing.assert_allclose(log_prior, expected, rtol=1e-4, atol=1e-5)


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
