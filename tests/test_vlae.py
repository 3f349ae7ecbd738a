"""The VLAE against the VAE, numerical integration, and its formulas in numpy; and a whole run of it."""

from __future__ import annotations

import functools
import signal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import critical_value, z_scores
from small import source

import vaelab
from vaelab import losses
from vaelab.checks import UsageError
from vaelab.likelihoods import BernoulliDecoder, GaussianDecoder, LaplaceDecoder
from vaelab.models import VAE, VLAE
from vaelab.networks import (
    MLP,
    Concatenation,
    ConditionalGaussian,
    ConvNet,
    DeconvNet,
    Downsample,
    GatedInjection,
    Identity,
    LadderEncoder,
    LadderGenerator,
    Upsample,
)
from vaelab.priors import GaussianMixture, HierarchicalPrior, StandardNormal, VampPrior
from vaelab.runs import Experiment, Hook
from vaelab.runs.prior_report import evaluate_prior
from vaelab.training import ELBO, Adam

K, B, D, SHAPE = 3, 4, 2, (4, 4, 1)
RNG = np.random.default_rng(0)
X = RNG.integers(0, 2, (B, *SHAPE)).astype(np.float32)
KEY = jax.random.key(0)


def mlp(width=5) -> MLP:
    return MLP((width,), activation=jnp.tanh)


def vlae(dims=(D, 3, 1), *, prior=None, decoder=BernoulliDecoder, **generator) -> VLAE:
    return VLAE(
        LadderEncoder(tuple(mlp() for _ in dims), dims),
        LadderGenerator(tuple(mlp() for _ in dims), **generator),
        decoder(MLP(()), SHAPE),
        StandardNormal(dims[0]) if prior is None else prior,
    )


def convolutional(decoder=LaplaceDecoder, prior=None, **generator) -> VLAE:
    """Three levels on images of 4 × 4."""
    return VLAE(
        LadderEncoder((MLP((5,), event_ndims=3), Downsample(3), Downsample(2)), (D, 3, 1)),
        LadderGenerator((mlp(), DeconvNet((2, 2), (2,), 2), Upsample(2)), **generator),
        decoder(Identity(), SHAPE),
        StandardNormal(D) if prior is None else prior,
    )


@functools.cache
def random_params(model, seed=1):
    shapes = jax.eval_shape(lambda: model.init(KEY, X, KEY))["params"]
    rng = np.random.default_rng(seed)
    draw = lambda leaf: jnp.asarray(0.5 * rng.normal(size=leaf.shape), leaf.dtype)  # noqa: E731
    return jax.tree.map(draw, shapes)


@functools.partial(jax.jit, static_argnums=(0, 3))
def run(model, params, key, num_samples, weights=None):
    return model.at(params)(X, key, num_samples, weights)


def assert_close(ours, theirs, rtol=1e-6, atol=1e-6):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol), ours, theirs)


# Against the VAE.


@pytest.mark.parametrize("prior", [StandardNormal, lambda dim: VampPrior(dim, num_components=3)])
@pytest.mark.parametrize("weighted", [False, True])
def test_one_level_is_a_vae(prior, weighted):
    """Values and gradients of all terms, also with the stop-gradients of DReG."""
    ladder = vlae((D,), prior=prior(D))
    flat = VAE(ConditionalGaussian(mlp(), D), BernoulliDecoder(mlp(), SHAPE), prior(D))
    params = random_params(flat)
    weights = jax.nn.softmax(jnp.asarray(RNG.normal(size=(K, B))), 0) if weighted else None

    def as_ladder(params):
        encoder, decoder = params["encoder"], params["decoder"]
        return {name: params[name] for name in params if name == "prior"} | {
            "encoder": {"networks_0": encoder["trunk"], "head_0": encoder["Dense_0"]},
            "generator": {"networks_0": decoder["trunk"]},
            "decoder": {"Dense_0": decoder["Dense_0"]},
        }

    def value(model, params):
        terms = run(model, params, KEY, K, weights)
        kl = () if terms.kl[0] is None else terms.kl
        bound = losses.importance_weighted_bound(terms.log_weights)
        return jnp.mean(bound) + sum(jnp.sum(part) for part in kl), terms._replace(likelihood=None)

    theirs = jax.value_and_grad(lambda p: value(flat, p), has_aux=True)
    ours = jax.value_and_grad(lambda p: value(ladder, as_ladder(p)), has_aux=True)
    assert_close(*jax.jit(lambda p: (ours(p), theirs(p)))(params))


class OnlyTheBottom(nn.Module):
    """What is left of a generator whose upper levels give features of zero."""

    width: int

    @nn.compact
    def __call__(self, z):
        zeros = jnp.zeros((*z.shape[:-1], self.width))
        return mlp(self.width)(GatedInjection(name="injection")(zeros, z))


def test_with_its_upper_levels_cut_it_is_a_vae():
    """Three levels. q(z_l|x) = N(0, I) in the upper two, and no code of theirs reaches x."""
    ladder, width = vlae((D, 3, 2)), 5
    params = random_params(ladder)
    zeros = functools.partial(jax.tree.map, jnp.zeros_like)
    encoder, generator = dict(params["encoder"]), dict(params["generator"])
    for part, names in ((encoder, ("head_0", "head_1")), (generator, ("networks_0", "networks_1"))):
        part.update({name: zeros(part[name]) for name in names})
    params = params | {"encoder": encoder, "generator": generator}
    flat = VAE(
        ConditionalGaussian(mlp(), 2),
        BernoulliDecoder(OnlyTheBottom(width), SHAPE),
        StandardNormal(2),
    )

    def as_flat(params):
        encoder, generator = params["encoder"], params["generator"]
        trunk = {"injection": generator["injection_2"], "MLP_0": generator["networks_2"]}
        return {
            "encoder": {"trunk": encoder["networks_2"], "Dense_0": encoder["head_2"]},
            "decoder": {"trunk": trunk, "Dense_0": params["decoder"]["Dense_0"]},
        }

    noise = jax.random.normal(jax.random.split(KEY, 4)[2], (K, B, 2))  # of the bottom level

    @jax.value_and_grad
    def theirs(params):
        bound = flat.at(params)
        posterior = bound.encode(X)
        z = posterior.distribution.loc + posterior.distribution.scale * noise
        kl = bound.prior.kl(posterior)
        return -jnp.mean(bound.decode((z,)).log_prob(X)) + jnp.mean(jnp.sum(kl, -1))

    def ours(params):
        terms = run(ladder, params, KEY, K)
        upper = terms.rate[:2], terms.kl[:2]
        return jnp.mean(terms.distortion) + sum(jnp.mean(jnp.sum(kl, -1)) for kl in terms.kl), upper

    @jax.jit
    def both(params):
        (value, upper), gradient = jax.value_and_grad(ours, has_aux=True)(params)
        return (value, as_flat(gradient)), theirs(as_flat(params)), upper

    with_the_ladder, without, upper = both(params)
    assert_close(with_the_ladder, without)
    assert_close(upper, jax.tree.map(jnp.zeros_like, upper))


# The levels.


def gap_integrals(model, params):
    """∫ q(z_l|x) (log q(z_l|x) − log p(z_l)) dz_l of each level of one coordinate, [B]."""
    line = jnp.linspace(-12, 12, 20_001)
    z = line[:, None, None] + jnp.zeros((1, B, 1))

    @jax.jit
    def integrals(params):
        bound = model.at(params)
        encoding = bound.encode(X)
        log_q = [q.log_prob(z) for q in encoding]
        log_p = [bound.level_log_prior(z, level) for level in range(len(encoding))]
        return [
            jnp.trapezoid(jnp.exp(q) * (q - p), line, axis=0)
            for q, p in zip(log_q, log_p, strict=True)
        ]

    return integrals(params)


def test_kl_of_a_level_is_its_integral():
    model = vlae((1, 1, 1))
    params = random_params(model)
    for kl, integral in zip(
        run(model, params, KEY, K).kl, gap_integrals(model, params), strict=True
    ):
        np.testing.assert_allclose(kl[:, 0], integral, rtol=1e-3, atol=1e-5)
        assert np.all(kl > 1e-4), "a KL of zero proves nothing"


def test_rate_of_a_top_level_without_a_closed_form_is_its_integral():
    model = vlae((1, 1), prior=GaussianMixture(1, num_components=3))
    params = random_params(model)
    terms = run(model, params, KEY, 4000)
    assert terms.kl[0] is None
    scores = z_scores(np.asarray(terms.rate[0]), np.asarray(gap_integrals(model, params)[0]))
    assert np.all(np.abs(scores) < critical_value(B))


def test_features_are_those_of_the_formulas():
    """h_3 = f_3(z_3), h_l = f_l(h_{l+1} + gate ⊙ W z_l), and ĥ_l = e_l(ĥ_{l−1}), in float64."""
    model = vlae()
    params = random_params(model)
    wide = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    layer = lambda p, h: np.tanh(h @ p["Dense_0"]["kernel"] + p["Dense_0"]["bias"])  # noqa: E731
    encoder, generator, head = wide["encoder"], wide["generator"], wide["decoder"]["Dense_0"]
    h, encoding = X.reshape(B, -1), model.at(params).encode(X)
    for level in (2, 1, 0):
        h = layer(encoder[f"networks_{level}"], h)
        linear = encoder[f"head_{level}"]
        mean, log_variance = np.split(h @ linear["kernel"] + linear["bias"], 2, axis=-1)
        np.testing.assert_allclose(encoding[level].mean(), mean, rtol=1e-4, atol=1e-6)
        scale = encoding[level].distribution.scale
        np.testing.assert_allclose(scale, np.exp(0.5 * log_variance), rtol=1e-4)
    z = tuple(RNG.normal(size=(7, dim)) for dim in model.latent_dims)
    h = layer(generator["networks_0"], z[0])
    for level in (1, 2):
        inject = generator[f"injection_{level}"]
        h = h + inject["gate"] * (z[level] @ inject["Dense_0"]["kernel"])
        h = layer(generator[f"networks_{level}"], h)
    logits = h @ head["kernel"] + head["bias"]
    ours = model.at(params).decode(tuple(map(jnp.asarray, z))).mean()
    np.testing.assert_allclose(ours, 1 / (1 + np.exp(-logits.reshape(7, *SHAPE))), rtol=1e-4)


@pytest.mark.parametrize("make", [vlae, convolutional])
def test_gates_start_at_a_tenth(make):
    model = make()
    z = tuple(jnp.zeros((1, dim)) for dim in model.latent_dims)
    generator = jax.jit(model.generator.init)(KEY, z)["params"]
    gates = [part["gate"] for name, part in generator.items() if name.startswith("injection")]
    assert [gate.ndim for gate in gates] == [1, 1]
    np.testing.assert_array_equal(np.concatenate(gates), np.float32(0.1))


def test_a_level_below_the_top_reaches_x_through_its_gate_only():
    model = vlae()
    params = random_params(model)
    generator = dict(params["generator"])
    inject = generator["injection_1"]
    generator["injection_1"] = inject | {"gate": jnp.zeros_like(inject["gate"])}
    z = tuple(jnp.asarray(RNG.normal(size=(7, dim)), jnp.float32) for dim in model.latent_dims)

    @jax.jit
    def moved(params):
        return jax.grad(lambda z: model.at(params).decode(z).mean().sum())(z)

    assert [bool(np.any(part)) for part in moved(params)] == [True, True, True]
    closed = moved(params | {"generator": generator})
    assert [bool(np.any(part)) for part in closed] == [True, False, True]


def test_one_network_in_every_place_is_a_network_for_each_level():
    net = mlp()
    tied = VLAE(
        LadderEncoder((net, net), (D, D)),
        LadderGenerator((net, net)),
        BernoulliDecoder(MLP(()), SHAPE),
        StandardNormal(D),
    )
    shapes = lambda model: jax.eval_shape(lambda: model.init(KEY, X, KEY))  # noqa: E731
    assert shapes(tied) == shapes(vlae((D, D)))


# Gradient estimators.


@functools.partial(jax.jit, static_argnums=0)
def gradients(model, params, keys):
    """Naive and doubly reparameterised gradient of the bound with K samples, for each key."""

    def naive(params, key):
        terms = model.at(params)(X, key, K)
        return jnp.mean(losses.importance_weighted_bound(terms.log_weights))

    def doubly(params, key):
        constant = model.at(params)(X, key, K).log_weights
        weights = losses.normalised_weights(constant)
        terms = model.at(params)(X, key, K, weights)
        return jnp.mean(losses.importance_weighted_bound(terms.log_weights))

    flat = lambda f: jax.vmap(lambda key: jax.flatten_util.ravel_pytree(jax.grad(f)(params, key))[0])  # noqa: E731  # fmt: skip
    return flat(naive)(keys), flat(doubly)(keys)


def test_dreg_has_the_expectation_of_the_naive_gradient():
    model = vlae((1, 1), prior=GaussianMixture(1, num_components=2))
    params = random_params(model)
    naive, doubly = gradients(model, params, jax.random.split(KEY, 3000))
    moved = np.any(np.asarray(naive != doubly), axis=0)
    scores = z_scores(np.asarray(naive - doubly)[:, moved], 0.0)
    assert moved.sum() > 80
    assert np.all(np.abs(scores) < critical_value(scores.size))
    np.testing.assert_allclose(naive[:, ~moved], doubly[:, ~moved])


# Convolutions and likelihoods.


def test_shapes_of_a_convolutional_ladder():
    encoder = LadderEncoder(
        (ConvNet((4,)), Downsample(3), Downsample(2, num_blocks=0)), dims=(4, 3, 2)
    )
    generator = LadderGenerator((DeconvNet((7, 7), (8,), 6), Upsample(4), Upsample(3)))
    x = jnp.zeros((5, 28, 28, 1))
    params = jax.eval_shape(lambda: encoder.init(KEY, x))["params"]
    inputs = [params[f"head_{level}"]["kernel"].shape[0] for level in range(3)]
    assert inputs == [4 * 4 * 4, 7 * 7 * 3, 14 * 14 * 2]
    z = tuple(jnp.zeros((2, 5, dim)) for dim in encoder.dims)
    maps, params = jax.eval_shape(lambda: generator.init_with_output(KEY, z))
    assert maps.shape == (2, 5, 28, 28, 3)
    gates = [params["params"][f"injection_{level}"]["gate"].shape for level in (1, 2)]
    assert gates == [(6,), (4,)]


def test_one_step_is_a_resolution_of_the_convolutional_trunks():
    x = jnp.asarray(RNG.normal(size=(2, 5, 6, 3)), jnp.float32)
    trunk, step = ConvNet((4,), num_blocks=2), Downsample(4, num_blocks=2)
    params = random_tree(jax.eval_shape(lambda: trunk.init(KEY, x)))
    ours, theirs = jax.jit(lambda p: (step.apply(p, x).reshape(2, -1), trunk.apply(p, x)))(params)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    z = jnp.asarray(RNG.normal(size=(2, 3)), jnp.float32)
    trunk, step = DeconvNet((6, 4), (5,), 4, num_blocks=2), Upsample(4, num_blocks=2)
    params = random_tree(jax.eval_shape(lambda: trunk.init(KEY, z)))["params"]

    @jax.jit
    def both(params):
        dense = params["Dense_0"]
        maps = (z @ dense["kernel"] + dense["bias"]).reshape(2, 3, 2, 5)
        rest = {name: part for name, part in params.items() if name != "Dense_0"}
        return step.apply({"params": rest}, maps), trunk.apply({"params": params}, z)

    np.testing.assert_allclose(*both(params), rtol=1e-5, atol=1e-5)


def random_tree(tree):
    return jax.tree.map(lambda leaf: jnp.asarray(RNG.normal(size=leaf.shape), leaf.dtype), tree)


@pytest.mark.parametrize(
    "make",
    [
        lambda: vlae(injection=Concatenation(2)),
        lambda: convolutional(GaussianDecoder),
        lambda: convolutional(LaplaceDecoder, injection=Concatenation(2)),
    ],
    ids=["Bernoulli", "Gaussian", "Laplace"],
)
def test_every_likelihood_has_gradients_in_every_parameter(make):
    model = make()
    params = random_params(model)
    bound = lambda params: jnp.mean(run(model, params, KEY, K).log_weights)  # noqa: E731
    for path, leaf in jax.tree.leaves_with_path(jax.jit(jax.grad(bound))(params)):
        assert np.all(np.isfinite(leaf)), path
        assert np.any(leaf), path


# A whole run.


class Interrupt(Hook):
    """Ctrl-C at the first training metrics. A second one would end the program at once."""

    def on_metrics(self, step, metrics):
        if step == 2 and "loss" in metrics:
            signal.raise_signal(signal.SIGINT)


def test_a_run_resumes_reports_every_level_and_is_loaded(tmp_path):
    experiment = Experiment(
        data=source(), model=vlae((D, 1), prior=VampPrior(D, num_components=3)),
        objective=ELBO(beta=(1.0, 0.5), warmup_steps=(0, 2)), optimiser=Adam(0.01),
        num_steps=4, log_every=2, evaluate_every=2, batch_size=10, num_samples=3, num_test=4,
        posterior_samples=2,
    )  # fmt: skip
    folder = tmp_path / "run"
    first = vaelab.train(experiment, workdir=folder, progress=False, hooks=[Interrupt()])
    assert first.interrupted
    assert first.last_step == 2
    result = vaelab.train(experiment, workdir=folder, progress=False)
    assert result.history.steps("elbo").tolist() == [2, 4]
    report = result.report()
    assert len(report.active_units) == len(report.level_rates) == 2
    total = sum(rate.mean for rate in report.level_rates)
    np.testing.assert_allclose(total, report.rate.mean, rtol=1e-4)
    levels = [result.history[f"rate/{level}"] for level in (0, 1)]
    np.testing.assert_allclose(np.sum(levels, axis=0), result.history["rate"], rtol=1e-4)
    plots = {path.stem for path in folder.glob("*.png")}
    # The bottom level has one coordinate, and a plot needs two.
    assert {"training", "samples", "latent_space_0"} <= plots
    assert "latent_space_1" not in plots
    trained = vaelab.load(folder)
    codes = trained.encode(X)
    assert [code.shape for code in codes] == [(B, D), (B, 1)]
    assert trained.decode(codes).shape == X.shape
    evaluation = evaluate_prior(result.run, result, report, num_points=8, annealed_points=0)
    assert [marginal.level for marginal in evaluation.marginals] == [0, 1]
    assert evaluation.undefined == ()


# Bad input.


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: LadderEncoder((), ()),
            "networks must be a tuple of at least one network, top first, got ().",
        ),
        (
            lambda: LadderGenerator(()),
            "networks must be a tuple of at least one network, top first, got ().",
        ),
        (
            lambda: LadderGenerator((mlp(), 64)),
            "networks[1] must be a module, such as MLP((64,)), got 64.",
        ),
        (
            lambda: LadderGenerator(MLP((3,))),
            "networks must be a tuple of at least one network, top first, got",
        ),
        (
            lambda: LadderEncoder((mlp(), mlp()), (2,)),
            "dims = (2,) must hold one number for each of 2 networks.",
        ),
        (
            lambda: LadderEncoder((mlp(),), (0,)),
            "dims must be a tuple of positive whole numbers, such as (64, 64), got (0,).",
        ),
        (
            lambda: VLAE(
                LadderEncoder((mlp(), mlp()), (2, 2)),
                LadderGenerator((mlp(),)),
                BernoulliDecoder(MLP(()), SHAPE),
                StandardNormal(2),
            ),
            "encoder has 2 networks and generator has 1: give both one network for each level.",
        ),
        (
            lambda: vlae((2, 3), prior=StandardNormal(3)),
            "encoder.dims[0] = 2 and prior.latent_dim = 3 must be the same number: level 0 is the "
            "top, and the prior is that of the top.",
        ),
        (
            lambda: vlae().clone(encoder=ConditionalGaussian(mlp(), D)),
            "encoder = ConditionalGaussian must be a networks.LadderEncoder, which has one network for "
            "each level, top first.",
        ),
        (lambda: Concatenation(0), "features must be at least 1, got 0."),
        (lambda: GatedInjection(float("nan")), "initial must be finite, got nan."),
        (lambda: Downsample(0), "channels must be at least 1, got 0."),
        (lambda: Upsample(2, num_blocks=-1), "num_blocks must be finite and not negative, got -1."),
    ],
)
def test_ladders_that_cannot_be(make, sentence):
    with pytest.raises(UsageError) as error:
        make()
    assert str(error.value).startswith(sentence.rstrip("."))


def test_networks_that_do_not_fit_are_named():
    maps_to_vectors = VLAE(
        LadderEncoder((mlp(), Downsample(2)), (2, 2)),
        LadderGenerator((mlp(), mlp())),
        BernoulliDecoder(MLP(()), SHAPE),
        StandardNormal(2),
    )
    with pytest.raises(UsageError, match=r"networks\[0\] = MLP of a ladder gives .* event_ndims"):
        jax.eval_shape(lambda: maps_to_vectors.init(KEY, X, KEY))
    trunk_of_vectors = convolutional().clone(decoder=BernoulliDecoder(MLP(()), SHAPE))
    with pytest.raises(UsageError, match=r"from features h of shape \(1, 4, 4, 4, 2\): choose a"):
        jax.eval_shape(lambda: trunk_of_vectors.init(KEY, X, KEY))
    too_small = convolutional().clone(
        generator=LadderGenerator((mlp(), mlp(), DeconvNet((2, 2), (2,), 2)))
    )
    with pytest.raises(UsageError, match=r"trunk gives maps of \(2, 2\) and shape is \(4, 4, 1\)"):
        jax.eval_shape(lambda: too_small.init(KEY, X, KEY))


def test_no_samples_and_a_context_are_refused():
    model = vlae(prior=HierarchicalPrior(D, num_samples=2, hidden=(3,)))
    with pytest.raises(UsageError, match="num_samples must be at least 1, got 0"):
        jax.eval_shape(lambda: model.init(KEY, X, KEY, 0))
    with pytest.raises(UsageError, match="VLAE takes no context"):
        jax.eval_shape(lambda: model.init(KEY, X, KEY, context=X))
