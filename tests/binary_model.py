"""A small top-down model with Bernoulli and Gaussian levels whose natural parameters add: maths to enumerate."""

from __future__ import annotations

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vaelab.likelihoods import Decoder
from vaelab.models import Model
from vaelab.models.base import check_level
from vaelab.natural import Bernoulli, Gaussian
from vaelab.types import Antithetic, Array, Terms

REASON = "has no density of its own: it depends on the levels above."


class Chain(Model):
    """p(z_0) Π p(z_l|z_l−1) p(x|z_L) with q(z_l|z_l−1, x) ∝ p(z_l|z_l−1) exp⟨ψ(z_l), a_l(x)⟩."""

    decoder: Decoder
    levels: tuple[tuple[type, int], ...]  # family and number of coordinates, top first

    prior_parameters: ClassVar[tuple[str, ...]] = ("top", "between_0")

    @property
    def latent_dims(self):
        return tuple(dim for _, dim in self.levels)

    @property
    def bernoulli_levels(self):
        return tuple(n for n, (family, _) in enumerate(self.levels) if family is Bernoulli)

    def setup(self):
        numbers = [dim if family is Bernoulli else 2 * dim for family, dim in self.levels]
        self.top = self.param("top", nn.initializers.normal(), (numbers[0],))
        self.between = [nn.Dense(number) for number in numbers[1:]]
        self.encoder = nn.Dense(sum(numbers))

    def family(self, level, numbers):
        family = self.levels[level][0]
        return Bernoulli(numbers) if family is Bernoulli else Gaussian(*jnp.split(numbers, 2, -1))

    def prior(self, level, above):
        numbers = self.top if level == 0 else jnp.tanh(self.between[level - 1](above))
        return self.family(level, numbers)

    def encode(self, x, context=None):
        numbers = self.encoder(2 * x.reshape(len(x), -1) - 1)
        ends = np.cumsum([dim if f is Bernoulli else 2 * dim for f, dim in self.levels])
        parts = jnp.split(numbers, ends[:-1], axis=-1)
        return tuple(self.family(level, part) for level, part in enumerate(parts))

    def walk(self, encoding, draw):
        """(latents, log ratios, KLs, posteriors) for each level, z_l = draw(level, q)."""
        latents, ratios, kls, posteriors = [], [], [], []
        for level, factor in enumerate(encoding):
            prior = self.prior(level, latents[-1] if latents else None)
            posterior = prior + factor
            z = draw(level, posterior)
            ratios.append(jnp.sum(posterior.log_prob(z) - prior.log_prob(z), -1))
            kl = posterior.kl(prior)
            kls.append(jnp.mean(kl, 0) if kl.ndim == 3 else kl)
            latents.append(z)
            posteriors.append(posterior)
        return tuple(latents), tuple(ratios), tuple(kls), posteriors

    def terms_at(self, encoding, x, draw):
        latents, ratios, kls, posteriors = self.walk(encoding, draw)
        likelihood = self.decoder(latents[-1])
        return Terms(-likelihood.log_prob(x), ratios, kls, latents, likelihood), posteriors

    def terms(self, encoding, x, key, num_samples=1, weights=None):
        keys = jax.random.split(key, len(self.levels))
        draw = lambda level, q: q.sample(keys[level], () if level else (num_samples,))  # noqa: E731
        return self.terms_at(encoding, x, draw)[0]

    def antithetic_terms(self, encoding, x, key, num_pairs=1):
        keys = jax.random.split(key, len(self.levels))
        own = self.bernoulli_levels
        grid = (len(own), 2, num_pairs)

        def noise(level, random) -> Array:
            """The same for both chains of a pair, [P, 2, N, B, D]."""
            dim = self.latent_dims[level]
            values = random(keys[level], (grid[0], 1, num_pairs, len(x), dim))
            return jnp.broadcast_to(values, (*grid, len(x), dim))

        def draw(level, posterior):
            if level not in own:
                scale = jnp.sqrt(posterior.variance)
                normal = noise(level, jax.random.normal).reshape(-1, *scale.shape[-2:])
                return posterior.mean + scale * normal
            u, number = noise(level, jax.random.uniform), own.index(level)
            u = u.at[number, 1].set(1 - u[number, 1])
            u = u.reshape(-1, *u.shape[-2:])
            return jax.lax.stop_gradient((u < posterior.mean).astype(u.dtype))

        terms, posteriors = self.terms_at(encoding, x, draw)
        logits: list[Array | None] = [None] * len(self.levels)
        for number, level in enumerate(own):
            shape = (*grid, len(x), self.latent_dims[level])
            values = jnp.broadcast_to(
                posteriors[level].logits, (grid[0] * 2 * num_pairs, *shape[3:])
            )
            logits[level] = values.reshape(shape)[number, 0]
        return Antithetic(terms, tuple(logits))

    def level_log_posteriors(self, encoding, latents):
        given = lambda level, q: latents[level]  # noqa: E731
        posteriors = self.walk(encoding, given)[3]
        pairs = zip(posteriors, latents, strict=True)
        return tuple(jnp.sum(q.log_prob(z), -1) for q, z in pairs)

    def decode(self, latents, context=None):
        return self.decoder(latents[-1])

    def sample_joint(self, key, num_samples, context=None):
        keys = jax.random.split(key, len(self.levels))
        z = self.prior(0, None).sample(keys[0], (num_samples,))
        latents = [z]
        for level in range(1, len(keys)):
            latents.append(self.prior(level, latents[-1]).sample(keys[level]))
        return tuple(latents), ()

    def log_prior(self, latents, key=None, context=None):
        above = (None, *latents)
        levels = range(len(self.levels))
        return sum(jnp.sum(self.prior(n, above[n]).log_prob(latents[n]), -1) for n in levels)

    def log_joint_prior(self, latents, auxiliary, context=None):
        return self.log_prior(latents)

    def level_posterior(self, encoding, level=0):
        check_level(self, level, 1, REASON)
        return self.prior(0, None) + encoding[0]

    def level_log_prior(self, z, level=0, key=None):
        check_level(self, level, 1, REASON)
        return jnp.sum(self.prior(0, None).log_prob(z), -1)

    def level_factorises(self, level=0):
        check_level(self, level, 1, REASON)
        return True
