"""Mistakes of a user: one sentence where a value is made or handed over, with the remedy."""

from __future__ import annotations

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vaelab import evaluation, likelihoods, losses, networks, priors, saddle
from vaelab.checks import UsageError
from vaelab.constraints import CLA, FRE, NLL, RE, LocalStatistics, classification_shortfall
from vaelab.models import VAE
from vaelab.networks import MLP, ConditionalGaussian
from vaelab.training import Adam, Geco
from vaelab.training.objectives import Lagrangian

KEY = jax.random.key(0)
BITS = np.random.default_rng(0).integers(0, 2, (6, 4, 4, 1)).astype(np.float32)


def vae(**parts) -> VAE:
    defaults = {
        "encoder": ConditionalGaussian(MLP((4,)), 2),
        "decoder": likelihoods.BernoulliDecoder(MLP((4,)), (4, 4, 1)),
        "prior": priors.StandardNormal(2),
    }
    return VAE(**defaults | parts)


def refused(call, sentence: str) -> None:
    """The call raises a UsageError with exactly this sentence."""
    with pytest.raises(UsageError) as error:
        call()
    assert str(error.value) == sentence


@pytest.mark.parametrize(
    ("make", "field", "name"),
    [
        (lambda: vae(decoder=likelihoods.GaussianDecoder), "decoder", "GaussianDecoder"),
        (lambda: vae(encoder=ConditionalGaussian), "encoder", "ConditionalGaussian"),
        (lambda: vae(prior=priors.FlowPrior), "prior", "FlowPrior"),
        (lambda: ConditionalGaussian(MLP, 2), "trunk", "MLP"),
        (lambda: likelihoods.BernoulliDecoder(MLP, (4, 4, 1)), "trunk", "MLP"),
        (lambda: priors.HierarchicalPrior(2, top=priors.StandardNormal), "top", "StandardNormal"),
        (lambda: priors.ResampledPrior(2, priors.StandardNormal), "proposal", "StandardNormal"),
        (
            lambda: priors.VampPrior(2, encoder=ConditionalGaussian),
            "encoder",
            "ConditionalGaussian",
        ),
        (lambda: priors.GTM(2, network=ConditionalGaussian), "network", "ConditionalGaussian"),
        (lambda: FRE(0.1, LocalStatistics), "features", "LocalStatistics"),
        (lambda: CLA(0.1, LocalStatistics), "classifier", "LocalStatistics"),
    ],
)
def test_a_class_in_the_place_of_an_instance_is_refused(make, field, name):
    refused(make, f"{field} is the class {name}: give an instance, {name}(...).")


@pytest.mark.parametrize(
    "make",
    [
        MLP,
        networks.GatedMLP,
        lambda hidden: networks.MADE(2, 1, hidden),
        lambda hidden: networks.RealNVP(2, hidden=hidden),
        lambda hidden: networks.ConditionalFlow(MLP(), 2, hidden=hidden),
        lambda hidden: priors.FlowPrior(2, hidden=hidden),
        lambda hidden: priors.AutoregressivePrior(2, hidden=hidden),
        lambda hidden: priors.ResampledPrior(2, hidden=hidden),
        lambda hidden: priors.HierarchicalPrior(2, hidden=hidden),
        lambda hidden: priors.GTM(2, hidden=hidden),
        lambda hidden: priors.GTMVampPrior(2, hidden=hidden),
    ],
)
def test_sizes_of_layers_that_are_no_tuple_are_refused_where_they_are_made(make):
    sentence = "hidden must be a tuple of positive whole numbers, such as {}, got {}."
    refused(lambda: make(16), sentence.format("(16,)", 16))
    refused(lambda: make((16, 0)), sentence.format("(64, 64)", (16, 0)))
    refused(lambda: make("16"), sentence.format("(64, 64)", "'16'"))
    make((16,))


def test_shapes_that_are_no_tuple_are_refused():
    sentence = "{} must be a tuple of positive whole numbers, such as (28,), got 28."
    refused(lambda: likelihoods.BernoulliDecoder(MLP(), 28), sentence.format("shape"))
    refused(lambda: networks.DeconvNet(28), sentence.format("shape"))
    refused(lambda: networks.ConvNet(28), sentence.format("channels"))
    refused(lambda: priors.VampPrior(2, 28), sentence.format("shape"))
    refused(
        lambda: networks.DeconvNet((28, 28, 1)), "shape must be (height, width), got (28, 28, 1)."
    )


PRIORS = {
    "standard normal": priors.StandardNormal(2),
    "mixture": priors.GaussianMixture(2),
    "gtm": priors.GTM(2),
    "flow": priors.FlowPrior(2),
    "autoregressive": priors.AutoregressivePrior(2),
    "hierarchical": priors.HierarchicalPrior(2, hidden=(3,)),
    "resampled": priors.ResampledPrior(2),
}


@pytest.mark.parametrize("prior", PRIORS.values(), ids=PRIORS)
def test_priors_refuse_latents_of_another_size_and_keys_that_are_not_given(prior):
    variables = prior.init(KEY, jnp.zeros(2))
    call = lambda *args, method="log_prob": prior.apply(variables, *args, method=method)  # noqa: E731
    sentence = "z must be an array [..., 2], because latent_dim = 2, got the shape {}."
    for shape in ((5, 3), (5, 1), ()):
        refused(lambda shape=shape: call(jnp.zeros(shape)), sentence.format(shape))
    wrong = jax.jit(lambda z: call(z, priors.Given(KEY)))
    refused(lambda: wrong(jnp.zeros((5, 3))), sentence.format((5, 3)))
    sentence = "given must be a priors.Given, such as Given(key=key), got PRNGKeyArray."
    refused(lambda: call(jnp.zeros((5, 2)), KEY), sentence)
    for method in ("sample", "sample_joint"):
        refused(lambda method=method: call(KEY, 3, KEY, method=method), sentence)
        refused(
            lambda method=method: call(KEY, 0, method=method),
            "num_samples must be at least 1, got 0.",
        )
    assert call(jnp.zeros((5, 2)), priors.Given(KEY)).shape == (5,)


def test_the_aggregated_posterior_refuses_latents_of_another_size():
    inputs = {"params": {"mean": jnp.zeros((3, 2)), "scale": jnp.ones((3, 2))}}
    prior = priors.AggregatedPosterior(2)
    refused(
        lambda: prior.apply(inputs, jnp.zeros((5, 3)), method="log_prob"),
        "z must be an array [..., 2], because latent_dim = 2, got the shape (5, 3).",
    )


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: losses.importance_weighted_bound(jnp.zeros(5)),
            "log_weights must be an array [K, B] with 2 axes, got the shape (5,).",
        ),
        (
            lambda: jax.jit(losses.elbo)(jnp.zeros((2, 5)), jnp.zeros((1, 5))),
            "shape of distortion = (2, 5) and shape of rate = (1, 5) must be the same.",
        ),
        (
            lambda: losses.free_bits(jnp.zeros(3), free_nats=0.1),
            "kl must be an array [B, D] with 2 axes, got the shape (3,).",
        ),
        (
            lambda: losses.lagrangian(jnp.zeros((2, 5)), {"re": jnp.zeros(5)}, {"re": 1.0}),
            "shape of rate = (2, 5) and shape of re = (5,) must be the same.",
        ),
        (
            lambda: classification_shortfall(jnp.zeros((1, 3, 2)), jnp.zeros((3, 2)), kappa=0.5),
            "labels must be an array [B] with 1 axis, got the shape (3, 2).",
        ),
    ],
)
def test_a_loss_of_arrays_of_other_shapes_says_both(call, sentence):
    refused(call, sentence)


def test_constraints_without_names_are_refused():
    sentence = 'constraints must be a dict of constraints by name, such as {{"re": RE(0.1)}}, and holds {}.'
    refused(lambda: Lagrangian({RE(0.1)}), sentence.format("RE(kappa=0.1)"))
    refused(lambda: Lagrangian(RE(0.1)), sentence.format("RE(kappa=0.1)"))
    refused(lambda: Lagrangian({"re": RE}), sentence.format(f"'re': {RE!r}"))
    assert Lagrangian([("re", RE(0.1))]) == Lagrangian({"re": RE(0.1)})


def test_a_kappa_that_is_no_number_is_refused():
    refused(lambda: NLL("0.1"), "kappa of the constraint NLL must be finite, got '0.1'.")


def test_variables_in_the_place_of_parameters_are_refused():
    model = vae()
    variables = model.init(KEY, BITS, KEY)
    sentence = (
        'params = {"params": ...} are variables, which hold the parameters once more: give '
        'variables["params"].'
    )
    refused(lambda: model.at(variables), sentence)
    subject = evaluation.Subject(model, variables, BITS)
    refused(lambda: evaluation.log_likelihood(subject, KEY, num_samples=2), sentence)


@pytest.mark.parametrize(
    ("x", "value"), [(2 * BITS - 1, -1), ((255 * BITS).astype(np.uint8), 255)], ids=["±1", "bytes"]
)
def test_data_outside_the_likelihoods_range_are_refused_before_they_are_evaluated(x, value):
    params = vae().init(KEY, BITS, KEY)["params"]
    with pytest.raises(
        UsageError, match=rf"^x holds {value} in image 0, outside \[0, 1\]: rescale"
    ):
        evaluation.Subject(vae(), params, x)


class Normalised(nn.Module):
    """A trunk with batch statistics."""

    @nn.compact
    def __call__(self, x):
        return nn.BatchNorm(use_running_average=False)(MLP((4,), event_ndims=x.ndim - 1)(x))


class Dropped(nn.Module):
    """A trunk with noise of its own."""

    deterministic: bool = False

    @nn.compact
    def __call__(self, x):
        return nn.Dropout(0.5, deterministic=self.deterministic)(
            MLP((4,), event_ndims=x.ndim - 1)(x)
        )


def test_networks_with_state_or_noise_are_refused_when_a_model_is_initialised():
    state = "keeps the state batch_stats beside its parameters: use nn.LayerNorm or nn.GroupNorm"
    noise = r"trunk/Dropout_0 is nn\.Dropout, whose noise would change the model's densities"
    for trunk, sentence in ((Normalised(), state), (Dropped(), noise)):
        network = ConditionalGaussian(trunk, 2)
        with pytest.raises(UsageError, match=sentence):
            vae(encoder=network).init(KEY, BITS, KEY)
        with pytest.raises(UsageError, match=sentence):
            priors.HierarchicalPrior(2, encoder=network).init(KEY, jnp.zeros((3, 2)))
    model = vae(encoder=ConditionalGaussian(Dropped(deterministic=True), 2))
    params = model.init(KEY, BITS, KEY)["params"]
    assert np.all(np.isfinite(model.at(params)(BITS, KEY).distortion))


def test_duals_take_schedules_and_refuse_settings_out_of_range():
    schedule = optax.linear_schedule(0.1, 0.0, 10)
    tx, multiplier = saddle.geco(schedule), jnp.array(1.0)
    state = tx.init(multiplier)
    factors = []
    for _ in range(3):
        update, state = tx.update(jnp.array(0.01), state, multiplier, constraint=0.01)
        factors.append(float(jnp.log(multiplier + update)))
    np.testing.assert_allclose(factors, [0.001, 0.0009, 0.0008], atol=1e-7)
    refused(lambda: Geco(step_size=-1), "step_size must be positive and finite, got -1.")
    refused(lambda: Geco(decay=1.5), "decay must lie in [0, 1), got 1.5.")
    refused(lambda: Adam(b1=1.5), "b1 must lie in [0, 1), got 1.5.")
    with pytest.raises(UsageError, match="primal must be an optax transformation, such as optax"):
        saddle.saddle_point(optax.adam, saddle.geco())
    with pytest.raises(UsageError, match="dual must be an optax transformation, such as optax"):
        saddle.saddle_point(optax.adam(1e-3), saddle.geco)


def test_certain_bits_have_log_probability_0_as_in_distrax():
    certain = likelihoods.Bernoulli(probs=jnp.array([0.0, 1.0])).log_prob(jnp.array([0.0, 1.0]))
    infinite = likelihoods.Bernoulli(logits=jnp.array([jnp.inf, -jnp.inf]))
    np.testing.assert_array_equal(certain, 0.0)
    np.testing.assert_array_equal(infinite.log_prob(jnp.array([1.0, 0.0])), 0.0)


def test_one_network_in_two_places_of_a_prior_means_two_networks_however_it_is_built():
    net = networks.GatedMLP((4,))
    gaussian = lambda trunk: ConditionalGaussian(trunk, 2)  # noqa: E731
    shared = priors.HierarchicalPrior(2, encoder=gaussian(net), decoder=gaussian(net))
    apart = priors.HierarchicalPrior(
        2, encoder=gaussian(networks.GatedMLP((4,))), decoder=gaussian(networks.GatedMLP((4,)))
    )
    fields = {f.name: getattr(shared, f.name) for f in dataclasses.fields(shared)}
    rebuilt = priors.HierarchicalPrior(**fields | {"parent": None})
    trees = [prior.init(KEY, jnp.zeros(2)) for prior in (shared, apart, rebuilt)]
    for tree in trees[1:]:
        jax.tree.map(np.testing.assert_array_equal, trees[0], tree)
