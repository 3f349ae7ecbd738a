"""What was learned, as numbers of a report: the likelihood's scale, the mixture's components."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaelab import likelihoods, networks, priors
from vaelab.models import VAE, ConvDRAW
from vaelab.networks import MLP, ConditionalGaussian

KEY, SHAPE = jax.random.key(0), (4, 4, 1)
X = np.zeros((2, *SHAPE), np.float32)
WEIGHTS = np.array([0.5, 0.25, 0.25])
EFFECTIVE = 2 ** (0.5 * 1 + 2 * 0.25 * 2)  # 2 to the power of the entropy in bits


def learned(decoder, prior, **leaves) -> dict[str, float]:
    model = VAE(ConditionalGaussian(MLP((3,)), 2), decoder, prior)
    params = model.init(KEY, X, KEY)["params"]

    def replaced(path, leaf):
        return leaves.get(path[-1].key, leaf)

    return model.learned(jax.tree_util.tree_map_with_path(replaced, params))


@pytest.mark.parametrize(
    "decoder",
    [
        likelihoods.GaussianDecoder,
        likelihoods.LaplaceDecoder,
        likelihoods.QuantisedNormalDecoder,
        likelihoods.DiscretisedLogisticDecoder,
    ],
)
def test_the_learned_scale_of_every_decoder_that_has_one_is_reported(decoder):
    log_scale = jnp.log(0.25)
    made = decoder(MLP((3,)), SHAPE, learned=True, floor=0.01)
    numbers = learned(made, priors.StandardNormal(2), log_scale=log_scale)
    assert numbers == {"likelihood_scale": pytest.approx(0.26)}
    fixed = decoder(MLP((3,)), SHAPE, learned=False)
    each = decoder(MLP((3,)), SHAPE, learned=True, per_pixel=True)
    for other in (fixed, each):
        assert learned(other, priors.StandardNormal(2)) == {}


@pytest.mark.parametrize(
    ("prior", "name"),
    [
        (lambda: priors.GaussianMixture(2, 3), "effective_components"),
        (
            lambda: priors.VampPrior(2, num_components=3, learned_weights=True),
            "effective_components",
        ),
        (
            lambda: priors.GTM(2, grid_size=3, grid_dim=1, learned_weights=True),
            "effective_components",
        ),
        (
            lambda: priors.GTMVampPrior(2, grid_size=3, grid_dim=1, learned_weights=True),
            "effective_components",
        ),
        (
            lambda: priors.HierarchicalPrior(2, top=priors.GaussianMixture(2, 3)),
            "top_effective_components",
        ),
        (
            lambda: priors.ResampledPrior(2, priors.GaussianMixture(2, 3)),
            "proposal_effective_components",
        ),
    ],
)
def test_the_effective_number_of_components_is_the_exponential_of_the_entropy(prior, name):
    decoder = likelihoods.BernoulliDecoder(MLP((3,)), SHAPE)
    numbers = learned(decoder, prior(), logits=jnp.log(WEIGHTS) + 7.0)
    assert numbers == {name: pytest.approx(EFFECTIVE, rel=1e-5)}
    assert learned(decoder, prior())[name] == pytest.approx(3.0, rel=1e-5)  # equal at the start


def test_the_learned_scale_of_convdraw_is_reported():
    decoder = likelihoods.GaussianDecoder(networks.Identity(), SHAPE, learned=True, scale=0.5)
    model = ConvDRAW(decoder, num_steps=1, hidden=2, latent_channels=1, canvas_channels=1)
    params = model.init(KEY, X, KEY)["params"]
    assert model.learned(params) == {"likelihood_scale": pytest.approx(0.5)}
