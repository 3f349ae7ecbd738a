"""A network that is used twice inside a model is two networks, however the model was made."""

from __future__ import annotations

import copy
import dataclasses
import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tyro

from vaelab.likelihoods import BernoulliDecoder, GaussianDecoder
from vaelab.models import VAE, ConvDRAW
from vaelab.networks import MLP, ConditionalFlow, ConditionalGaussian, GatedMLP, Identity
from vaelab.priors import GTM, GTMVampPrior, HierarchicalPrior, ResampledPrior, VampPrior
from vaelab.runs.record import to_record

D, SHAPE, KEY = 2, (4, 4, 1), jax.random.key(0)


class Both(nn.Module):
    """A user's own module with networks in a tuple and in a field."""

    layers: tuple[nn.Module, ...]
    last: nn.Module

    @nn.compact
    def __call__(self, x):
        for layer in (*self.layers, self.last):
            x = layer(x)
        return x


def gaussian(trunk, dim=D):
    return ConditionalGaussian(trunk, dim)


def decoder(trunk=None):
    return BernoulliDecoder(MLP((5,)) if trunk is None else trunk, shape=SHAPE)


def image_encoder(trunk=None):
    return gaussian(MLP((5,), event_ndims=3) if trunk is None else trunk)


def hierarchical(net):
    return HierarchicalPrior(D, encoder=gaussian(net), decoder=gaussian(net))


def of_two_levels(net):
    """One network in the three places of one prior, and in the two of the prior above it."""
    top = HierarchicalPrior(D, encoder=gaussian(net), decoder=ConditionalFlow(net, D))
    return HierarchicalPrior(D, encoder=gaussian(net), decoder=gaussian(net), top=top)


def with_encoder_of_the_model(make_prior):
    encoder = image_encoder()
    return VAE(encoder, decoder(), make_prior(encoder))


MODELS = {
    "trunk of a hierarchical prior": lambda: VAE(
        image_encoder(), decoder(), hierarchical(GatedMLP((6,)))
    ),
    "priors in priors": lambda: VAE(image_encoder(), decoder(), of_two_levels(GatedMLP((6,)))),
    "encoder as the prior's": lambda: with_encoder_of_the_model(
        lambda encoder: VampPrior(D, SHAPE, 3, encoder=encoder)
    ),
    "encoder as the grid prior's": lambda: with_encoder_of_the_model(
        lambda encoder: GTMVampPrior(D, SHAPE, grid_size=2, encoder=encoder)
    ),
    "decoder and prior": lambda: (
        lambda net: VAE(image_encoder(), decoder(net), GTM(D, network=gaussian(net)))
    )(MLP((5,))),
    "proposal": lambda: VAE(
        image_encoder(),
        decoder(),
        ResampledPrior(D, proposal=GTM(D, network=gaussian(Both((MLP((3,)),) * 2, MLP((3,)))))),
    ),
    "a user's modules": lambda: (
        lambda net: VAE(image_encoder(), decoder(Both((net, net), net)), GTM(D))
    )(MLP((D,))),
    "a deep copy": lambda: (
        lambda net: VAE(
            image_encoder(),
            decoder(),
            HierarchicalPrior(D, encoder=gaussian(net), decoder=gaussian(copy.deepcopy(net))),
        )
    )(GatedMLP((6,))),
}


def rebuilt(value):
    """The model made again from the parts of its record, each place by itself."""
    if isinstance(value, nn.Module):
        names = [f.name for f in dataclasses.fields(value) if f.name not in ("parent", "name")]
        return type(value)(**{name: rebuilt(getattr(value, name)) for name in names})
    return tuple(map(rebuilt, value)) if isinstance(value, tuple) else value


def parameters(model):
    x = jnp.full((1, *SHAPE), 0.5)
    params = jax.jit(lambda: model.init(KEY, x, KEY))()["params"]
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree.leaves_with_path(params)}


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_a_network_used_twice_is_two_as_when_the_model_is_built_again(make):
    model = make()
    ours, expected = parameters(model), parameters(rebuilt(model))
    assert ours.keys() == expected.keys()
    for name, leaf in ours.items():
        np.testing.assert_array_equal(leaf, expected[name], err_msg=name)
    assert model == rebuilt(model)
    assert hash(model) == hash(rebuilt(model))


@dataclasses.dataclass(frozen=True)
class Arguments:
    model: VAE


def test_a_command_line_changes_nothing_but_the_field():
    arguments = Arguments(MODELS["trunk of a hierarchical prior"]())
    flags = ["--model.prior.num-samples", "8"]  # as it is: all else must be, too
    changed = tyro.cli(tyro.conf.AvoidSubcommands[Arguments], default=arguments, args=flags)
    ours, theirs = parameters(arguments.model), parameters(changed.model)
    assert ours.keys() == theirs.keys()
    for name, leaf in ours.items():
        np.testing.assert_array_equal(leaf, theirs[name], err_msg=name)
    assert json.dumps(to_record(changed.model)) == json.dumps(to_record(arguments.model))


def test_an_encoder_given_to_the_prior_is_the_prior_s_own():
    names = parameters(MODELS["encoder as the prior's"]())
    assert "['prior']['encoder']['Dense_0']['kernel']" in names
    without = parameters(with_encoder_of_the_model(lambda _: VampPrior(D, SHAPE, 3)))
    assert not any("['prior']['encoder']" in name for name in without)


def test_modules_used_once_stay_the_same_objects():
    encoder, net = image_encoder(), MLP((5,))
    model = VAE(encoder, decoder(net), hierarchical(GatedMLP((6,))))
    assert model.encoder is encoder
    assert model.decoder.trunk is net
    assert model.clone().prior.decoder is model.prior.decoder


def test_convdraw_and_decoders_have_networks_of_their_own():
    canvas = Identity()
    model = ConvDRAW(GaussianDecoder(canvas, shape=(8, 8, 1)), num_steps=1, hidden=2)
    assert model.decoder.trunk is canvas
    layers = nn.Sequential([dense := nn.Dense(3), dense])
    params = decoder(layers).init(KEY, jnp.zeros((1, 3)))["params"]
    assert params["trunk"].keys() == {"layers_0", "layers_1"}


def test_a_module_may_share_what_is_bound_to_it():
    """Within a module of one's own, Flax's rules hold: here both distributions have one trunk."""

    class Shared(nn.Module):
        def setup(self):
            self.net = MLP((3,))
            self.first, self.second = gaussian(self.net), gaussian(self.net)

        def __call__(self, x):
            return self.first(x).mean(), self.second(x).mean()

    params = Shared().init(KEY, jnp.zeros((1, 4)))["params"]
    assert params.keys() == {"net", "first", "second"}
    assert params["first"].keys() == params["second"].keys() == {"Dense_0"}


@pytest.mark.parametrize("weights", [None, jnp.full((1, 1), 1.0)])
def test_transforms_of_a_model_made_of_copies(weights):
    """The doubly reparameterised gradient clones a bound encoder; scan and vmap see plain functions."""
    model = MODELS["priors in priors"]()
    x = jnp.full((1, *SHAPE), 0.5)
    variables = model.init(KEY, x, KEY)

    def loss(variables):
        return -jnp.mean(model.apply(variables, x, KEY, 1, weights).log_weights)

    gradients = jax.jit(jax.grad(loss))(variables)["params"]["prior"]
    for place in ("encoder", "decoder"):
        assert np.any(gradients[place]["trunk"]["Dense_0"]["kernel"] != 0)
    first, second = (
        gradients[place]["trunk"]["Dense_0"]["kernel"] for place in ("encoder", "decoder")
    )
    assert not np.array_equal(first, second)
