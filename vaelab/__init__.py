"""Variational autoencoders with learned priors, trained under constraints, in JAX.

Import what you need by name: `from vaelab import losses, saddle`. Importing `vaelab` itself
imports nothing.
"""

__version__ = "0.1.0"
