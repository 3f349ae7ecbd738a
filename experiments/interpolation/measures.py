"""What is measured of a latent space, and of the paths through it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from experiments.interpolation.families import Family
from experiments.interpolation.paths import CODED, KINDS, PRUNED, SHORTEST, Settings, Space
from vaelab import evaluation, geometry
from vaelab.evaluation import Estimate
from vaelab.evaluation.averages import mean_and_error
from vaelab.types import Examples

_DENSE = 0.75  # share of prior samples, the densest ones, that are tested for a ring
_FAR = 0.5  # quantile of the distances of held-out examples to the training part


class PathMeasures(NamedTuple):
    """Paths of one kind, averaged over pairs."""

    kind: str
    values: dict[str, Estimate]


class ModelMeasures(NamedTuple):
    """One model."""

    experiment: str
    seed: int
    step: int
    settings: Settings
    bound: float  # by which the step was chosen, on the validation part, nats
    elbo: float  # at this step, on the validation part, nats
    rate: Estimate  # nats, of the training part
    error: float  # root mean square error of decoded codes, training part
    held_out_error: float  # the same of held-out examples
    num_components: int  # of the graph of prior samples, before bridges join them
    num_pruned_components: int  # the same of the pruned graph
    num_code_components: int  # the same of the graph of codes
    jump_threshold: float | None
    purity: Estimate | None  # share of the nearest training codes with the label of a held-out code
    far: Estimate  # share of prior samples that decode far from the training part
    codes_form_ring: bool  # codes of the training part
    prior_forms_ring: bool  # samples in the densest regions
    paths: list[PathMeasures]


def measure(name: str, space: Space, family: Family, settings: Settings) -> ModelMeasures:
    """The measures of one model."""
    result, codes = space.result, space.codes
    run, train = result.run, result.run.splits.train
    held_out = run.splits.parts["test" if settings.part == "train" else settings.part]
    of_held_out = codes.encode(held_out.x)
    # One limit for all models: it does not depend on what they decode.
    limit = np.quantile(geometry.nearest_distances(_flat(train), _flat(held_out)), _FAR)
    # Without a best step the last one is reported, which may lie after the last validation.
    at_step = np.searchsorted(result.history.steps("validation/bound"), result.step, "right") - 1
    bound, elbo = (float(result.history[f"validation/{key}"][at_step]) for key in ("bound", "elbo"))
    return ModelMeasures(
        experiment=name,
        seed=run.experiment.seed,
        step=result.step,
        settings=settings,
        bound=bound,
        elbo=elbo,
        rate=_rate(space),
        error=_error(codes.decode(space.of_train), train),
        held_out_error=_error(codes.decode(of_held_out), held_out),
        num_components=space.num_components[SHORTEST],
        num_pruned_components=space.num_components[PRUNED],
        num_code_components=space.num_components[CODED],
        jump_threshold=space.threshold,
        purity=_purity(space.of_train, train.labels, of_held_out, held_out.labels, settings)
        if family.names
        else None,
        far=mean_and_error(
            geometry.share_far(space.decoded_nodes[:, None], _flat(train), float(limit))
        ),
        codes_form_ring=geometry.has_loop(geometry.loops(space.of_train)),
        prior_forms_ring=geometry.has_loop(
            geometry.loops(space.nodes[geometry.densest_points(space.nodes, _DENSE)])
        ),
        paths=[_path_measures(kind, space, family, settings) for kind in KINDS],
    )


def _path_measures(kind: str, space: Space, family: Family, settings: Settings) -> PathMeasures:
    """The measures of all paths of one kind."""
    points, y = space.paths[kind], space.decoded[kind]
    part = space.result.run.splits.parts[settings.part]
    log_density = space.codes.log_aggregated(points.reshape(-1, points.shape[-1]))
    at_ends = space.codes.log_aggregated(space.ends.reshape(-1, points.shape[-1]))
    steps, rough = geometry.steps(y), geometry.second_differences(y).mean(axis=1)
    mean_step = np.maximum(steps.mean(axis=1), np.finfo(float).tiny)
    values = {
        "second difference": rough,
        "second difference / mean step": rough / mean_step,
        "largest step": steps.max(axis=1),
        "largest step / mean step": steps.max(axis=1) / mean_step,
        "decoded length": steps.sum(axis=1),
        "low density, %": 100
        * geometry.share_below(log_density.reshape(points.shape[:2]), at_ends, settings.quantile),
        "paths over a bridge, %": 100.0 * space.bridged[kind],
    }
    if space.threshold is not None:
        values["jumps"] = geometry.jumps(y, space.threshold).sum(axis=1)
    values |= family.further(y, None if part.labels is None else part.labels[space.pairs])
    return PathMeasures(kind, {name: mean_and_error(each) for name, each in values.items()})


def _rate(space: Space) -> Estimate:
    run = space.result.run
    subject = run.subject(space.result.params, run.fixed_training_set())
    rates = {"rate": evaluation.rate}
    return evaluation.expectations(subject, run.key("rate"), rates, num_samples=1)["rate"]


def _purity(
    of_train: np.ndarray, labels: Any, of_part: np.ndarray, part_labels: Any, settings: Settings
) -> Estimate:
    """The mean over classes, so that all count the same."""
    shares = geometry.neighbour_purity(
        of_train, labels, of_part, part_labels, settings.num_neighbours
    )
    groups = [mean_and_error(shares[part_labels == label]) for label in np.unique(part_labels)]
    error = np.linalg.norm([group.standard_error for group in groups]) / len(groups)
    return Estimate(float(np.mean([group.mean for group in groups])), float(error))


def _error(decoded: np.ndarray, examples: Examples) -> float:
    return float(np.sqrt(np.mean((decoded - _flat(examples)) ** 2)))


def _flat(examples: Examples) -> np.ndarray:
    return examples.x.reshape(len(examples.x), -1)
