"""The plots of the theory: each is a function of a key, and returns a plot and its numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from vaelab import theory
from vaelab.data import planar
from vaelab.plotting import fixed_points as pictures
from vaelab.plotting import tiles as tile_pictures
from vaelab.types import PRNGKey

Numbers = dict[str, Any]
Plot = tuple[Figure, Numbers]

SEED_RULE = theory.Rule()  # the stopping rule of the paper
CONVERGED = theory.Rule(smoothing=1.0, tolerance=1e-5, max_steps=2000)
SIDE = 32  # cells per side, appendix A
LIPSCHITZ_SIDE = 16  # each step solves a system of the size of the grid
NUM_POINTS, NUM_CURVE_POINTS = 64, 120  # of the clusters; of the lines and the circles


def blurs_and_holes(key: PRNGKey) -> Plot:
    """Figure 1: four posteriors that overlap and leave holes, drawn by hand."""
    del key
    side = 200
    centres = jnp.array([[0.3, 0.32], [0.68, 0.28], [0.34, 0.7], [0.7, 0.7]])
    radii = jnp.array([0.26, 0.22, 0.22, 0.2])
    x = jnp.array([[-0.9, -0.6], [0.9, -0.7], [-0.5, 0.9], [0.8, 0.6]])
    cells = (theory.grid(side) + 1) / 2
    supports = jnp.linalg.norm(cells - centres[:, None], axis=-1) < radii[:, None]
    blurred = theory.blurred_reconstructions(x, supports)
    # Cells run along z_2 first; pictures have z_2 upwards.
    weights = blurred.weights.reshape(len(x), side, side).transpose(0, 2, 1)
    g = blurred.g.reshape(side, side, 2).transpose(1, 0, 2)
    numbers: Numbers = {
        "cells": side**2,
        "masses of the supports": _list(np.mean(supports, axis=1)),
        "mass of holes": float(np.mean(blurred.holes)),
        "mass of blurs": float(np.mean(np.sum(supports, axis=0) > 1)),
    }
    caption = (
        "The posterior of a datum is the uniform prior on a disc. Holes have "
        f"{100 * numbers['mass of holes']:.0f} % of the prior's mass, overlaps "
        f"{100 * numbers['mass of blurs']:.0f} %. An overlap decodes to the mean of its data, each "
        "weighted with the inverse mass of its disc (equation 17)."
    )
    return tile_pictures.blurs_and_holes(x, weights, g, caption=caption), numbers


def phase_transitions(key: PRNGKey) -> Plot:
    """Figure 2: the fixed points at four β, the error over β, and where it bends."""
    data_key, cells_key = jax.random.split(key)
    x = planar.clusters(data_key, NUM_POINTS)
    g = theory.initial_reconstructions(cells_key, SIDE)
    shown = (0.06, 0.24, 0.55, 1.0)
    panels = []
    numbers: Numbers = {"points": NUM_POINTS, "cells": SIDE**2, "panels": []}
    for beta in shown:
        end = theory.iterate(x, g, beta, rule=SEED_RULE, keep_path=True)
        num_tiles = _count(theory.tiles(x, end.g, beta, tolerance=0.02))
        panels.append(pictures.Trajectories(f"β = {beta:g}", x, end.path))
        error = float(theory.reconstruction_error(x, end.g, beta))
        numbers["panels"].append(
            {"beta": beta, "steps": int(end.num_steps), "tiles": num_tiles, "error": error}
        )
    betas = jnp.linspace(0.015, 1.2, 80)
    curves = []
    for label, rule in (("the paper's rule", SEED_RULE), ("to convergence", CONVERGED)):
        errors, steps = theory.error_curve(x, g, betas, rule=rule)
        critical = theory.critical_temperatures(betas, errors)
        curvature = np.abs(theory.second_derivative(betas, errors))
        curves.append(pictures.ErrorCurve(label, betas, errors, curvature, critical.beta))
        numbers[label] = {
            "critical": _list(critical.beta),
            "height": _list(critical.curvature),
            "most steps": int(np.max(steps)),
            "beta": _list(betas),
            "error": _list(errors),
        }
    known = float(theory.last_merger(x))
    numbers["last merger in closed form"] = known
    caption = (
        f"{NUM_POINTS} points in 8 clusters, {SIDE}×{SIDE} cells of a uniform prior, 80 values of β. "
        f"{_stopping()} To convergence (dashed): steps of 1 until shorter than 1e−5. Lines: the three "
        "highest local maxima of |d²E/dβ²|. An early stop blurs a merger, the last merger most. Above twice "
        "the largest variance of the data the mean is stable, below it is unstable."
    )
    figure = pictures.phase_transitions(
        panels, curves, known=known, caption=caption,
        title="Raising β merges clusters, scale by scale",
    )  # fmt: skip
    return figure, numbers


def lipschitz_constraints(key: PRNGKey) -> Plot:
    """Figure 7: β, local and global Lipschitz constraints, on lines and on circles."""
    lines_key, circles_key, cells_key = jax.random.split(key, 3)
    lines = planar.lines(lines_key, NUM_CURVE_POINTS)
    data = (lines, planar.circles(circles_key, NUM_CURVE_POINTS))
    g = theory.initial_reconstructions(cells_key, LIPSCHITZ_SIDE)
    cells, radius, beta = theory.grid(LIPSCHITZ_SIDE), 3 / LIPSCHITZ_SIDE, 0.01
    # Strengths are what neighbours weigh beside the data, 2 Σ_b Λ_ab / N_a, in an inner cell.
    local = theory.local_penalty(cells, radius, 1.0)
    everywhere = theory.global_penalty(len(cells), 1.0)
    rows: list[list[pictures.Trajectories]] = []
    numbers: list[Numbers] = []
    for name, penalty, values in (
        ("none", None, (0.01, 0.05, 0.3)),
        ("local", local, (1.0, 10.0, 100.0)),
        ("global", everywhere, (0.01, 0.1, 1.0)),
    ):
        row = []
        for x in data:
            for value in values:
                row_beta, scaled, label = value, None, f"β = {value:g}"
                if penalty is not None:
                    unit = len(x) / (2 * float(np.max(np.sum(penalty, axis=1))))
                    row_beta, scaled, label = beta, value * unit * penalty, f"ρ = {value:g}"
                end = theory.iterate(x, g, row_beta, None, scaled, rule=SEED_RULE, keep_path=True)
                row.append(pictures.Trajectories(label, x, end.path))
                target = theory.transition(x, end.g, row_beta, None, scaled)
                spreads = (
                    theory.roughness(end.g, pairs) / np.sum(pairs) for pairs in (local, everywhere)
                )
                near, all_pairs = (float(np.sqrt(spread)) for spread in spreads)
                numbers.append({
                    "data": ("lines", "circles")[x is data[1]],
                    "constraint": name,
                    "beta": row_beta,
                    "strength": value if scaled is not None else 0.0,
                    "steps": int(end.num_steps),
                    "full step at the end": float(np.linalg.norm(np.subtract(target, end.g))),
                    "error": float(theory.reconstruction_error(x, end.g, row_beta)),
                    "root mean square of g_a − g_b, neighbours": near,
                    "root mean square of g_a − g_b, all pairs": all_pairs,
                })  # fmt: skip
        rows.append(row)
    caption = (
        f"{NUM_CURVE_POINTS} points, {LIPSCHITZ_SIDE}×{LIPSCHITZ_SIDE} cells of a uniform prior. "
        f"{_stopping()} Lipschitz rows: β = {beta:g}; ρ is the weight of all a cell's neighbours "
        "together, relative to its data's; neighbours are the 8 cells around each under the local "
        "constraint, all cells under the global one, which draws cells with few data to the mean."
    )
    figure = pictures.trajectories(
        rows, row_labels=("no constraint", "local Lipschitz", "global Lipschitz"), caption=caption,
        title="β merges neighbours in the data, Lipschitz constraints neighbours in latent space",
    )  # fmt: skip
    return figure, {"cells": len(cells), "radius": radius, "rows": numbers}


def equipartition(key: PRNGKey) -> Plot:
    """Proposition 3.3: tile masses under q(z) and under the prior, and under the best prior."""
    data_key, cells_key = jax.random.split(key)
    x = planar.clusters(data_key, NUM_POINTS)
    g = theory.initial_reconstructions(cells_key, SIDE)
    panels = []
    numbers: Numbers = {"points": NUM_POINTS, "cells": SIDE**2, "panels": []}
    for beta in (0.6, 0.25, 0.06, 2e-5):
        end = theory.iterate(x, g, beta, rule=CONVERGED)
        best = theory.optimal_log_prior(x, end.g, beta, jnp.full(SIDE**2, -jnp.log(SIDE**2)))
        given, found = (
            theory.tiles(x, end.g, beta, log_prior, tolerance=1e-3) for log_prior in (None, best)
        )
        first = np.asarray(given.prior) > 0
        both = (given.prior, given.posterior, found.prior, found.posterior)
        masses = [np.asarray(mass)[first] for mass in both]
        kls = [float(theory.tile_kl(x, end.g, beta, log_prior)) for log_prior in (None, best)]
        ratio = masses[1] / masses[0]
        title = f"β = {np.format_float_positional(beta)}, {first.sum()} tiles\nKL(q(z) ‖ π) = {kls[0]:.3f} nats"
        panels.append(tile_pictures.TileMasses(title, *masses))
        numbers["panels"].append({
            "beta": beta,
            "steps": int(end.num_steps),
            "tiles": int(first.sum()),
            "kl, given prior": kls[0],
            "kl, best prior": kls[1],
            "least q/π of a tile": float(ratio.min()),
            "largest q/π of a tile": float(ratio.max()),
            "objective, given prior": float(theory.fixed_point_objective(x, end.g, beta)),
            "objective, best prior": float(theory.fixed_point_objective(x, end.g, beta, best)),
        })  # fmt: skip
    caption = (
        f"{NUM_POINTS} points in 8 clusters, {SIDE}×{SIDE} cells of a uniform prior. Steps of 1 until "
        "shorter than 1e−5. A tile: cells whose reconstructions a chain of steps below 0.001 joins. "
        "Under the given prior, equipartition holds only roughly, for a small β least. The best prior for "
        "the same reconstructions meets it."
    )
    figure = tile_pictures.equipartition(
        panels, caption=caption, title="The mass of each tile under q(z) and under the prior"
    )
    return figure, numbers


def vanishing_variance(key: PRNGKey) -> Plot:
    """Proposition 3.1 (ii): σ² optimised with encoder and decoder goes to zero."""
    data_key, cells_key = jax.random.split(key)
    x = planar.clusters(data_key, NUM_POINTS)
    g = theory.initial_reconstructions(cells_key, SIDE)
    start, smallest = 0.5, 1e-12
    run = theory.optimise_variance(x, g, start, num_steps=400, smallest=smallest)
    variances = np.asarray(run.variance)
    falls = np.diff(variances)
    held = np.flatnonzero(variances <= smallest * (1 + 1e-6))
    numbers: Numbers = {
        "points": NUM_POINTS,
        "cells": SIDE**2,
        "first variance": start,
        "steps to the smallest variance": int(held[0]) if held.size else None,
        "never rises": bool((falls <= 0).all()),
        "variance": _list(variances),
        "elbo": _list(run.elbo),
    }
    caption = (
        f"{NUM_POINTS} points in 8 clusters, {SIDE}×{SIDE} cells of a uniform prior, smoothing 0.1. "
        f"When each datum has a tile of its own, σ² shrinks at a constant rate, and the ELBO rises without a "
        f"limit. The run holds σ² at {smallest:g}."
    )
    figure = pictures.vanishing_variance(variances, run.elbo, smallest=smallest, caption=caption)
    return figure, numbers


PLOTS: dict[str, Callable[[PRNGKey], Plot]] = {
    "blurs_and_holes": blurs_and_holes,
    "phase_transitions": phase_transitions,
    "lipschitz_constraints": lipschitz_constraints,
    "equipartition": equipartition,
    "vanishing_variance": vanishing_variance,
}


def _stopping() -> str:
    return (
        f"Smoothed steps, s = {SEED_RULE.smoothing:g}, until shorter than {SEED_RULE.tolerance:g}, "
        f"at most {SEED_RULE.max_steps}."
    )


def _count(tiles: theory.Tiles) -> int:
    return int(np.sum(np.asarray(tiles.prior) > 0))


def _list(values: Any) -> list[float]:
    return np.asarray(values, float).tolist()
