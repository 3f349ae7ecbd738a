"""Models; each keeps the contract of `vaelab.models.base` and returns `vaelab.types.Terms`.

A model is a value: each place in it has its own network. If one network is given for two places
(encoder, decoder, prior, or anywhere inside them), it is copied, and both copies are trained
separately (`vaelab.separate`). The same is true after a command line has changed a field, and for a
model that is built from its record.

Shapes may be left out. `model.for_data(examples)` derives them from the data:

>>> import numpy as np
>>> from vaelab import likelihoods, networks, priors
>>> model = VAE(
...     encoder=networks.ConditionalGaussian(networks.MLP((64,)), dim=2),
...     decoder=likelihoods.BernoulliDecoder(networks.MLP((64,))),
...     prior=priors.VampPrior(2),
... )
>>> model = model.for_data(np.zeros((100, 28, 28, 1)))
>>> model.decoder.shape, model.encoder.trunk.event_ndims, model.prior.shape
((28, 28, 1), 3, (28, 28, 1))

One network in two places:

>>> net = networks.GatedMLP((64,))
>>> prior = priors.HierarchicalPrior(
...     latent_dim=2,
...     encoder=networks.ConditionalGaussian(net, dim=2),
...     decoder=networks.ConditionalGaussian(net, dim=2),
... )
>>> prior.encoder.trunk is prior.decoder.trunk, prior.encoder == prior.decoder
(False, True)
"""

from vaelab.models.base import Model
from vaelab.models.convdraw import ConvDRAW
from vaelab.models.deep import DeepHierarchy
from vaelab.models.top_down import AllLevels, BottomLevel, DecoderInput, TopDownVAE
from vaelab.models.vae import VAE
from vaelab.models.vlae import VLAE

__all__ = [
    "VAE",
    "VLAE",
    "AllLevels",
    "BottomLevel",
    "ConvDRAW",
    "DecoderInput",
    "DeepHierarchy",
    "Model",
    "TopDownVAE",
]
