"""Models; each keeps the contract of `vaelab.models.base` and returns `vaelab.types.Terms`.

A model is a value: each place in it has a network of its own. One network that is given for two
places (encoder, decoder, prior, or anywhere inside them) is copied, and both copies are trained
separately (`vaelab.separate`). The same holds after a command line has changed a field, and for a
model that is built from its record.

>>> from vaelab import networks, priors
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
from vaelab.models.vae import VAE

__all__ = ["VAE", "ConvDRAW", "Model"]
