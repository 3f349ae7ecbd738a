"""GECO at its default settings, from a huge first error: λ does not explode, and does not depend on the
image's size, the batch size, or the number of devices."""

import json
import sys

import numpy as np
import pytest
from conftest import ROOT

NUM_DEVICES, NUM_STEPS, KAPPA = 8, 600, 0.2

pytestmark = pytest.mark.slow  # eight programs, compiled as users compile them


@pytest.fixture(scope="module")
def courses(command):
    """{(size, batch size, devices): the course of λ and of the error} of the runs below."""
    result = command(__file__, devices=NUM_DEVICES)
    assert result.returncode == 0, result.stderr
    runs = json.loads(result.stdout.splitlines()[-1])
    return {tuple(run.pop("case")): {k: np.array(v) for k, v in run.items()} for run in runs}


def rise(course):
    """log λ up to the step at which a batch first meets the constraint."""
    met = np.flatnonzero(course["constraint"] <= 0)
    assert met.size, "the constraint is never met"
    return np.log(course["multiplier"][: met[0]])


def test_the_rise_of_lambda_is_the_same_everywhere(courses):
    """λ rises by the same factor a step until the error is small, whatever that is summed over.

    How long the model needs until then is its own matter; and so is where λ settles.
    """
    assert len(courses) == 8
    rises = {case: rise(course) for case, course in courses.items()}
    shortest = min(map(len, rises.values()))
    assert shortest > 100
    for values in rises.values():
        np.testing.assert_allclose(values[:shortest], rises[16, 32, 1][:shortest], atol=0.05)


def test_lambda_does_not_explode(courses):
    for case, course in courses.items():
        assert course["multiplier"].max() < 3 * course["multiplier"][-1], case
        assert course["multiplier"].max() < 20, case
        assert course["constraint"][0] > 10 * KAPPA**2, "the first error is not huge"


def test_more_devices_change_nothing_but_rounding(courses):
    for size, batch_size, devices in list(courses):
        if devices == 1 and (size, batch_size, NUM_DEVICES) in courses:
            one, many = courses[size, batch_size, 1], courses[size, batch_size, NUM_DEVICES]
            np.testing.assert_allclose(one["multiplier"], many["multiplier"], rtol=1e-3)


def main():
    """Every run, in this process: MNIST-like images of three sizes under RE."""
    import jax

    from vaelab import data
    from vaelab.constraints import RE
    from vaelab.likelihoods import GaussianDecoder
    from vaelab.models import VAE
    from vaelab.networks import MLP, ConditionalGaussian
    from vaelab.priors import StandardNormal
    from vaelab.runs.experiment import Experiment
    from vaelab.runs.run import Run
    from vaelab.training.duals import Geco
    from vaelab.training.objectives import Lagrangian
    from vaelab.training.optimisers import Adam
    from vaelab.training.sharding import make_mesh, replicate
    from vaelab.training.step import compile_train_steps

    results = []
    for size, batch_size, devices in (
        (16, 32, 1), (16, 128, 1), (32, 32, 1), (32, 128, 1), (64, 32, 1), (64, 128, 1),
        (16, 32, NUM_DEVICES), (64, 128, NUM_DEVICES),
    ):  # fmt: skip
        model = VAE(
            encoder=ConditionalGaussian(MLP((32,), event_ndims=3), 8),
            decoder=GaussianDecoder(MLP((32,)), (size, size, 1)),
            prior=StandardNormal(8),
        )
        run = Run.load(
            Experiment(
                data=data.Resized(data.Digits(), size), model=model,
                objective=Lagrangian({"re": RE(KAPPA)}), dual=Geco(), optimiser=Adam(2e-3),
                batch_size=batch_size, num_steps=NUM_STEPS,
            ),
            None,
        )  # fmt: skip
        mesh = make_mesh(devices=jax.devices()[:devices])
        steps = compile_train_steps(
            model=model, objective=run.experiment.objective,
            tx=run.transformation(), preprocess=run.experiment.data.preprocess, mesh=mesh,
        )  # fmt: skip
        state, source = replicate((run.initial_state(), run.source()), mesh)
        _, metrics = steps(state, source, num_steps=NUM_STEPS)
        results.append({
            "case": [size, batch_size, devices],
            "multiplier": np.asarray(metrics["multiplier/re"]).tolist(),
            "constraint": (np.asarray(metrics["constraint/re"]) / size**2).tolist(),
        })  # fmt: skip
    print(json.dumps(results))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
