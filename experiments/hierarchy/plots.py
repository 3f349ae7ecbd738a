"""The plots of the study of hierarchies."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.figure import Figure

from experiments.hierarchy.measures import LevelMeasures, ModelMeasures
from vaelab import evaluation, plotting
from vaelab.evaluation import Estimate, GibbsChain
from vaelab.plotting import ChainPanel, LevelBlock, LevelQuantity
from vaelab.runs import Trained, pictures
from vaelab.runs.run import Run

_NUM_LEVELS = 6  # shown of a deep model
_NUM_IMAGES = 8  # in a row of a traversal
_NUM_CHAINS = 5  # shown
_CARRIERS = {"bottom": "the bottom level alone carries x", "all": "all levels carry x"}


def traversals(measures: ModelMeasures, run: Run, trained: Trained) -> Figure:
    """A block for each level, bottom level on the left. Of a deep model some levels are shown.

    Raises:
      UndefinedError: the data cannot be shown as images.
    """
    num = len(measures.levels)
    subject = run.subject(trained.params, run.splits.test)
    shown = np.unique(np.linspace(0, num - 1, min(num, _NUM_LEVELS)).round().astype(int))[::-1]
    blocks, notes = [], dict[str, None]()
    for level in shown:
        moved = evaluation.traverse_level(
            subject, run.key("traversals"), int(level), num=_NUM_IMAGES, num_rows=_NUM_IMAGES
        )
        images = pictures.images(run, moved.means.reshape(-1, *run.event_shape))
        notes |= {images.note: None} if images.note else {}
        blocks.append(
            LevelBlock(
                _title(measures.levels[level]),
                images.images.reshape(*moved.means.shape[:2], *images.images.shape[1:]),
                f"left to right: {moved.columns}; top to bottom: {moved.rows}",
            )
        )
    return plotting.level_traversals(
        blocks,
        title=f"{measures.experiment}: one level moves, the noise of the others is fixed",
        note=" ".join(notes) or None,
    )


def _title(level: LevelMeasures) -> str:
    return f"{level.title}, {level.dim} coordinate{'s' if level.dim > 1 else ''}"


def chains(measures: ModelMeasures, states: Sequence[GibbsChain], run: Run) -> dict[str, Figure]:
    """A plot for each choice of the levels that carry the state, by its name.

    Raises:
      UndefinedError: the data cannot be shown as images.
    """
    figures = {}
    pairs = list(zip(measures.chains, states, strict=True))
    for carrier in dict.fromkeys(each.carrier for each in measures.chains):
        panels = []
        for each, chain in pairs:
            if each.carrier != carrier:
                continue
            labels, means = each.labels, chain.mean[:, :_NUM_CHAINS]
            flat = means.reshape(-1, *means.shape[2:])
            images = pictures.images(run, flat).images
            panels.append(
                ChainPanel(
                    title=f"started at {each.start}",
                    steps=labels.steps,
                    images=images.reshape(*means.shape[:2], *images.shape[1:]),
                    shares=labels.shares,
                    reference=labels.reference,
                    model_shares=labels.model_shares,
                    total_variation=[distance.mean for distance in labels.total_variation],
                    errors=[distance.standard_error for distance in labels.total_variation],
                    distance_to_model=[distance.mean for distance in labels.distance_to_model],
                    floor=labels.floor,
                )
            )
        num, threshold = len(states[0].x[0]), measures.chains[0].labels.threshold
        figures[f"gibbs_{carrier}"] = plotting.label_chains(
            panels,
            title=f"{measures.experiment}: z ~ q(z|x), x ~ p(x|z); {_CARRIERS[carrier]}",
            caption=f"Images and labels are of the means of p(x|z), at step 0 of the start. {num:,} chains. "
            f"Unclear: no class has a probability of {threshold:g}. Total variation of the "
            f"labels from those of the data, and from those of {num:,} samples of the model. Dotted: that "
            f"of {num:,} labels drawn from the data.",
        )
    return figures


def comparison(models: Sequence[ModelMeasures]) -> Figure:
    """The levels of the models side by side."""
    majority = models[0].levels[0].probe.majority
    return plotting.level_bars(
        [
            _quantity(models, "KL, nats", lambda level: level.rate),
            _quantity(models, "probe accuracy", lambda level: level.probe.accuracy)._replace(
                reference=majority, reference_label="constant"
            ),
            _quantity(models, "label flips, level alone", lambda level: level.alone.flip_rate),
            _quantity(
                models, "label flips, with lower levels", lambda level: level.with_lower.flip_rate
            ),
        ]
    )


def _quantity(
    models: Sequence[ModelMeasures], label: str, read: Callable[[LevelMeasures], Estimate]
) -> LevelQuantity:
    estimates = {each.experiment: [read(level) for level in each.levels] for each in models}
    return LevelQuantity(
        label,
        {name: [estimate.mean for estimate in row] for name, row in estimates.items()},
        {name: [estimate.standard_error for estimate in row] for name, row in estimates.items()},
    )
