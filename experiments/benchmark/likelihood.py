"""log p(x) of a trained run: q(z|x) with many samples beside refined proposals with few."""

from __future__ import annotations

import jax
import numpy as np

from experiments.benchmark.blocks import Clock
from experiments.benchmark.rows import Row, row
from vaelab import evaluation, runs
from vaelab.evaluation import Amortised, LogLikelihood, Refined
from vaelab.runs.loading import run_of

_NUM_TEST, _MANY = 100, 5000


def measure(folder: str, rounds: int, clock: Clock) -> list[Row]:
    """Time of q(z|x) with 5,000 samples divided by that of a refined proposal, on 100 test images."""
    trained = runs.load(folder)
    run = run_of(trained)
    subject = run.subject(trained.params, run.test_examples(_NUM_TEST))
    settings = {"many": (_MANY, Amortised())} | {str(k): (k, Refined()) for k in (100, 200, 500)}
    seconds: dict[str, list[float]] = {name: [] for name in settings}
    results: dict[str, list[LogLikelihood]] = {name: [] for name in settings}
    for number in range(rounds + 1):  # the first round compiles
        for name, (num_samples, proposal) in settings.items():
            start = clock()
            result = evaluation.log_likelihood(
                subject, jax.random.key(number), num_samples=num_samples, proposal=proposal
            )
            if number:
                seconds[name].append(clock() - start)
                results[name].append(result)
    rows = []
    for name in list(settings)[1:]:
        gained = [
            few.mean - many.mean for few, many in zip(results[name], results["many"], strict=True)
        ]
        few, many = results[name][0], results["many"][0]
        detail = (
            f"log p(x) {np.mean(gained):+.3f} nats; effective samples {many.effective_sample_size:.0f} "
            f"of {_MANY} and {few.effective_sample_size:.0f} of {name}"
        )
        measured = row(
            f"log p(x): q(z|x), {_MANY} samples / refined, {name} samples",
            seconds["many"],
            seconds[name],
            "at least 5",
        )
        rows.append(measured._replace(detail=detail))
    return rows
