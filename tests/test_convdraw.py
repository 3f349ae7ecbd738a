"""ConvDRAW against its formulas written out in numpy, step after step, and against sampling."""

from __future__ import annotations

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from oracles import critical_value, within_confidence
from scipy.special import expit, log_expit, logsumexp

from vaelab.likelihoods import BernoulliDecoder
from vaelab.models import ConvDRAW
from vaelab.networks import MLP, Convolution3x3, Identity

K, B, SHAPE, SIZE = 2, 3, (4, 6, 3), 2  # maps of 2 × 3
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 2, size=(B, *SHAPE)).astype(np.float32)
CONTEXT = RNG.uniform(size=(B, 4, 6, 2)).astype(np.float32)
KEY = jax.random.key(0)


def make_model(shape=SHAPE, **fields):
    fields = {"num_steps": 2, "hidden": 3, "latent_channels": 2, "canvas_channels": 2} | fields
    return ConvDRAW(BernoulliDecoder(Identity(), shape), downsample=SIZE, **fields)


def given(model):
    return CONTEXT if model.conditional else None


def random_params(model, seed=1):
    x = jnp.zeros((1, *model.decoder.shape))
    context = given(model)
    context = None if context is None else context[:1]
    shapes = jax.eval_shape(lambda: model.init(KEY, x, KEY, context=context))["params"]
    rng = np.random.default_rng(seed)
    draw = lambda leaf: jnp.asarray(0.5 * rng.normal(size=leaf.shape), leaf.dtype)  # noqa: E731
    return jax.tree.map(draw, shapes)


@functools.partial(jax.jit, static_argnums=(0, 4))
def run(model, params, x, key, num_samples, context=None):
    """Terms, with E[x|z] in the place of the likelihood, which is no array."""
    terms = model.apply({"params": params}, x, key, num_samples, context=context)
    return terms._replace(likelihood=terms.likelihood.mean())


@functools.partial(jax.jit, static_argnums=(0, 3))
def run_samples(model, params, key, num_samples, context=None):
    return model.apply({"params": params}, key, num_samples, context, method="sample_latents")


@functools.partial(jax.jit, static_argnums=0)
def run_decode(model, params, latents, context=None):
    return model.apply({"params": params}, latents, context, method="decode").mean()


class Unrolled:
    """The model's formulas in float64, in a Python loop over given latents."""

    def __init__(self, model, params):
        self.model = model
        self.params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)

    def convolve(self, maps, params):
        height, width = maps.shape[-3:-1]
        padded = np.pad(maps, [(0, 0)] * (maps.ndim - 3) + [(1, 1), (1, 1), (0, 0)])
        out = params.get("bias", 0.0)
        for i, j in itertools.product(range(3), repeat=2):
            out = out + padded[..., i : i + height, j : j + width, :] @ params["kernel"][i, j]
        return out

    def blocks(self, images):
        images, cells = np.asarray(images, np.float64), []
        for i, j in itertools.product(range(SIZE), repeat=2):
            cells.append(images[..., i::SIZE, j::SIZE, :])
        return np.concatenate(cells, axis=-1)

    def cell(self, name, state, inputs, constant, read):
        params = self.params[name]
        gates = self.convolve(np.concatenate([state[0], inputs], -1), params["gates"]) + read
        if constant is not None:
            gates = gates + self.convolve(constant, params["constant"])
        i, f, g, o = np.split(gates, 4, axis=-1)
        c = expit(f + 1) * state[1] + expit(i) * np.tanh(g)
        return expit(o) * np.tanh(c), c

    def start(self, name, batch_shape):
        initial = self.params[name]["initial"]
        return tuple(np.broadcast_to(v, (*batch_shape, *v.shape)) for v in initial)

    def __call__(self, latents, x=None, context=None):
        """[(mean, std) of q(z_t) or None, of p(z_t), each [..., D_t]], and the logits of x."""
        p, batch_shape = self.params, latents[0].shape[:-1]
        features = lambda images, name: np.maximum(self.convolve(images, p[name]), 0)  # noqa: E731
        seen = None if context is None else features(self.blocks(context), "context_features")
        constant = None if x is None else features(self.blocks(x), "features")
        if constant is not None and seen is not None:
            constant = np.concatenate([constant, seen], -1)
        inference, generation = (
            self.start(name, batch_shape) for name in ("inference", "generation")
        )
        maps_shape = (*batch_shape, *generation[0].shape[-3:-1])
        canvas = np.zeros((*maps_shape, SIZE**2 * self.model.canvas_channels))
        densities = []
        for z in latents:
            prior = self.convolve(generation[0], p["prior"])
            if seen is not None:
                prior = prior + seen @ p["prior_of_context"]["kernel"]
            posterior = None
            if x is not None:
                read = canvas @ p["read_to_infer"]["kernel"]
                inference = self.cell("inference", inference, generation[0], constant, read)
                both = np.concatenate([inference[0], generation[0]], -1)
                posterior = self.density(self.convolve(both, p["posterior"]))
            densities.append((posterior, self.density(prior)))
            z = np.asarray(z, np.float64).reshape(*maps_shape, -1)
            read = canvas @ p["read_to_generate"]["kernel"]
            generation = self.cell("generation", generation, z, seen, read)
            canvas = canvas + generation[0] @ p["write"]["kernel"] + p["write"]["bias"]
        channels = self.model.canvas_channels
        image = np.zeros((*batch_shape, *self.model.decoder.shape[:2], channels))
        for n, (i, j) in enumerate(itertools.product(range(SIZE), repeat=2)):
            image[..., i::SIZE, j::SIZE, :] = canvas[..., n * channels : (n + 1) * channels]
        head = p["decoder"]["Dense_0"]
        return densities, image @ head["kernel"] + head["bias"]

    @staticmethod
    def density(maps):
        mean, log_variance = np.split(maps, 2, axis=-1)
        flat = lambda v: v.reshape(*v.shape[:-3], -1)  # noqa: E731
        return flat(mean), flat(np.exp(0.5 * log_variance))


def kl_of(q, p):
    (mean, std), (prior_mean, prior_std) = q, p
    squares = (std**2 + (mean - prior_mean) ** 2) / prior_std**2
    return 0.5 * (squares - 1) - np.log(std / prior_std)


@pytest.mark.parametrize("context_channels", [None, 2])
@pytest.mark.parametrize("num_steps", [1, 2])
def test_terms_are_those_of_the_unrolled_formulas(num_steps, context_channels):
    """One step is a VAE of one level, its prior learned and conditional on the context."""
    model = make_model(num_steps=num_steps, context_channels=context_channels)
    params, context = random_params(model), given(model)
    terms = run(model, params, IMAGES, KEY, K, context)
    densities, logits = Unrolled(model, params)(terms.latents, IMAGES, context)
    assert model.latent_dims == (12,) * num_steps
    assert len(terms.rate) == len(terms.kl) == len(terms.latents) == num_steps
    for (q, p), rate, kl, z in zip(densities, terms.rate, terms.kl, terms.latents, strict=True):
        by_hand = scipy.stats.norm.logpdf(z, *q) - scipy.stats.norm.logpdf(z, *p)
        np.testing.assert_allclose(rate, by_hand.sum(-1), rtol=1e-4, atol=1e-4)
        by_hand = np.broadcast_to(kl_of(q, p), (K, B, 12)).mean(0)
        np.testing.assert_allclose(kl, by_hand, rtol=1e-4, atol=1e-5)
    log_likelihood = IMAGES * log_expit(logits) + (1 - IMAGES) * log_expit(-logits)
    np.testing.assert_allclose(terms.distortion, -log_likelihood.sum((-3, -2, -1)), rtol=1e-5)
    np.testing.assert_allclose(terms.likelihood, expit(logits), rtol=1e-4)
    decoded = run_decode(model, params, terms.latents, context)
    np.testing.assert_allclose(decoded, terms.likelihood, rtol=1e-5)


def standard_normal(noise):
    """Whether every column is normal and uncorrelated with every other. [n, D]."""
    n, dim = noise.shape
    normal = all(scipy.stats.kstest(column, "norm").pvalue > 1e-3 / dim for column in noise.T)
    correlation = np.corrcoef(noise.T) - np.eye(dim)
    return normal and np.all(np.abs(correlation) < critical_value(dim**2) / n**0.5)


def test_posterior_samples_and_their_closed_form_rate():
    model = make_model(context_channels=2)
    params = random_params(model)
    terms = run(model, params, IMAGES, KEY, 3000, CONTEXT)
    densities, _ = Unrolled(model, params)(terms.latents, IMAGES, CONTEXT)
    noise = [(z - q[0]) / q[1] for z, (q, _) in zip(terms.latents, densities, strict=True)]
    assert standard_normal(np.concatenate(noise, axis=-1).reshape(3000, -1))
    for rate, kl, (q, p) in zip(terms.rate, terms.kl, densities, strict=True):
        given_the_past = np.broadcast_to(kl_of(q, p), (3000, B, 12)).sum(-1)
        assert np.all(within_confidence(np.asarray(rate) - given_the_past, 0.0))
        np.testing.assert_allclose(kl.sum(-1), given_the_past.mean(0), rtol=1e-4)


@pytest.mark.parametrize("num_contexts", [1, 3000])
def test_prior_samples(num_contexts):
    model = make_model(context_channels=2)
    params, context = random_params(model), CONTEXT[np.arange(num_contexts) % B]
    z = run_samples(model, params, KEY, 3000, context)
    assert [level.shape for level in z] == [(3000, dim) for dim in model.latent_dims]
    densities, logits = Unrolled(model, params)(z, context=context)
    noise = [(level - p[0]) / p[1] for level, (_, p) in zip(z, densities, strict=True)]
    assert standard_normal(np.concatenate(noise, axis=-1))
    np.testing.assert_allclose(run_decode(model, params, z, context), expit(logits), atol=1e-5)


def test_weights_are_unbiased_and_bounds_rise_to_log_p():
    """E_q[p(x, z)/q(z|x)] = E_p[p(x|z)] = p(x), which sums to one over all images of 2 × 2 bits."""
    model = make_model((2, 2, 1), latent_channels=1)
    params = random_params(model, seed=2)
    images = np.array(list(itertools.product([0.0, 1.0], repeat=4)), np.float32)
    images = images.reshape(16, 2, 2, 1)
    log_w = np.asarray(run(model, params, images, KEY, 4096).log_weights, np.float64)
    latents = run_samples(model, params, jax.random.key(1), 20000)
    mean = np.asarray(run_decode(model, params, latents), np.float64)[:, None]
    from_prior = np.prod(np.where(images == 1, mean, 1 - mean), axis=(-3, -2, -1))
    p = np.mean(from_prior, 0)
    error = np.hypot(np.std(from_prior, 0) / 20000**0.5, np.std(np.exp(log_w), 0) / 4096**0.5)
    assert np.all(np.abs(np.exp(log_w).mean(0) - p) < critical_value(16) * error)
    assert abs(np.exp(log_w).mean(0).sum() - 1) < 4 * np.exp(log_w).sum(1).std() / 4096**0.5
    bounds = [logsumexp(log_w.reshape(-1, k, 16), axis=1) - np.log(k) for k in (1, 4, 16)]
    gaps = [np.mean(np.log(p) - bound.mean(0)) for bound in bounds]
    assert gaps[1] < 0.5 * gaps[0]
    assert abs(gaps[2]) < 0.5 * gaps[1]


def gradient(model, params, key, context=None):
    def loss(params, context):
        terms = model.apply({"params": params}, IMAGES, key, K, context=context)
        return -jnp.mean(terms.log_weights)

    return jax.value_and_grad(loss, argnums=(0, 1) if context is not None else 0)(params, context)


def test_gradients_reach_every_parameter_and_the_context_whatever_remat():
    model = make_model(context_channels=2)
    params = random_params(model)
    compiled = jax.jit(gradient, static_argnums=0)
    value, (of_params, of_context) = compiled(model, params, KEY, CONTEXT)
    for path, leaf in jax.tree.leaves_with_path(of_params):
        assert np.all(np.isfinite(leaf)), path
        assert np.mean(np.abs(leaf) > 1e-6) > 0.5, path
    assert np.all(np.abs(of_context).max((1, 2, 3)) > 1e-4)
    again = compiled(model.clone(remat=True), params, KEY, CONTEXT)
    jax.tree.map(
        lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5),
        again,
        (value, (of_params, of_context)),
    )


def test_models_side_by_side_are_the_models_alone_and_compile_once():
    model = make_model()
    members = [random_params(model, seed) for seed in range(2)]
    keys = jax.random.split(KEY, 2)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
    together = jax.jit(jax.vmap(functools.partial(gradient, model)))(stacked, keys)
    compiled = jax.jit(functools.partial(gradient, model))
    for index, params in enumerate(members):
        jax.tree.map(
            lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5),
            jax.tree.map(lambda leaf, index=index: leaf[index], together),
            compiled(params, keys[index]),
        )
    assert compiled._cache_size() == 1


@pytest.mark.parametrize("remat", [False, True])
def test_the_steps_are_one_scan_and_x_is_encoded_once(remat):
    model = make_model(num_steps=5, context_channels=2, remat=remat)
    params = jax.eval_shape(lambda: model.init(KEY, IMAGES, KEY, context=CONTEXT))
    encode = lambda params: model.apply(params, IMAGES, CONTEXT, method="encode")  # noqa: E731
    assert {leaf.shape[0] for leaf in jax.tree.leaves(jax.eval_shape(encode, params))} == {B}

    def call(params):
        terms = model.apply(params, IMAGES, KEY, 7, context=CONTEXT)
        return terms.log_weights

    equations = jax.make_jaxpr(call)(params).eqns
    scans = [equation for equation in equations if equation.primitive.name == "scan"]
    assert [scan.params["length"] for scan in scans] == [5]


@pytest.mark.parametrize("maps_shape", [(2, 3, 4, 5, 3), (5, 1, 2)])
def test_convolution_is_the_one_of_xla(maps_shape):
    maps = jnp.asarray(RNG.normal(size=maps_shape), jnp.float32)
    kernel = jnp.asarray(RNG.normal(size=(3, 3, maps_shape[-1], 4)), jnp.float32)

    def by_xla(maps, kernel):
        flat = maps.reshape(-1, *maps.shape[-3:])
        out = jax.lax.conv_general_dilated(
            flat, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return out.reshape(*maps.shape[:-1], 4)

    def ours(maps, kernel):
        return Convolution3x3(4, use_bias=False).apply({"params": {"kernel": kernel}}, maps)

    (value, pull), (expected, pull_expected) = (
        jax.vjp(ours, maps, kernel),
        jax.vjp(by_xla, maps, kernel),
    )
    np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-4)
    for gradient, wanted in zip(pull(expected), pull_expected(expected), strict=True):
        np.testing.assert_allclose(gradient, wanted, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"num_steps": 0}, "num_steps must be at least 1, got 0"),
        ({"hidden": 0}, "hidden must be at least 1, got 0"),
        ({"context_channels": 0}, "context_channels must be at least 1, got 0"),
        ({"shape": (4, 5, 1)}, "downsample = 2 must divide height and width of decoder.shape"),
        ({"shape": (8,)}, "downsample = 2 must divide"),
    ],
)
def test_models_that_cannot_be(fields, match):
    with pytest.raises(ValueError, match=match):
        make_model(**fields)


def test_a_trunk_of_vectors_is_refused():
    with pytest.raises(ValueError, match=r"decoder\.trunk = MLP .* use networks\.Identity\(\)"):
        ConvDRAW(BernoulliDecoder(MLP((4,)), SHAPE), downsample=SIZE)


@pytest.mark.parametrize(
    ("context_channels", "arguments", "match"),
    [
        (2, {}, r"context_channels = 2: pass a context of shape \[B, 4, 6, 2\]"),
        (
            None,
            {"context": CONTEXT},
            "unconditional: leave the context out, or set context_channels",
        ),
        (2, {"context": CONTEXT[:2]}, r"context has the shape \(2, 4, 6, 2\): give 3 images"),
        (2, {"context": CONTEXT[:, :2]}, r"give 3 images of shape \(4, 6, 2\)"),
        (2, {"context": CONTEXT[..., :1]}, r"give 3 images of shape \(4, 6, 2\)"),
        (
            None,
            {"x": IMAGES[..., :1]},
            r"events of shape \(4, 6, 1\), and model\.decoder\.shape is",
        ),
    ],
)
def test_inputs_that_do_not_fit(context_channels, arguments, match):
    model = make_model(context_channels=context_channels)
    with pytest.raises(ValueError, match=match):
        jax.eval_shape(lambda: model.init(KEY, **({"x": IMAGES, "key": KEY} | arguments)))


def test_latents_of_another_number_of_steps_are_refused():
    model, z = make_model(), jnp.zeros((B, 12))
    with pytest.raises(ValueError, match=r"a tuple of 2 arrays with \(12, 12\) coordinates"):
        jax.eval_shape(lambda: model.init(KEY, (z, z, z), method="decode"))
