"""The study of interpolation: paths through latent spaces, and what they decode to."""
