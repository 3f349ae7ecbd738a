"""`vaelab train` as a user runs it: interrupted, killed, on other settings, and on a full disk."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time

import pytest
from conftest import ROOT, SMALL, files
from small import bits

from vaelab import cli
from vaelab.training.checkpoint_reading import read_raw

NAME = "digits_vhp_rewo"


@pytest.fixture(autouse=True)
def _in_the_project(monkeypatch):
    monkeypatch.chdir(ROOT)


def assert_same_run(workdir, reference):
    """Report, metrics, plots and every array of the last checkpoint."""
    for name in ("report.json", "metrics.jsonl"):
        assert (workdir / name).read_text() == (reference / name).read_text()
    ours, theirs = (read_raw(folder / "checkpoints") for folder in (workdir, reference))
    assert bits(ours) == bits(theirs)
    for name in ("training", "reconstructions", "samples", "latent_space"):
        assert (workdir / f"{name}.png").read_bytes() == (reference / f"{name}.png").read_bytes()


def stop_when(process, happened, number=signal.SIGKILL, seconds=120.0):
    """Sends the signal as soon as `happened()`; (exit code, stdout, stderr)."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and not happened() and time.monotonic() < deadline:
        time.sleep(0.0005)
    process.send_signal(number)
    out, err = process.communicate(timeout=seconds)
    return process.returncode, out, err


def test_a_run_stopped_again_and_again_ends_as_one_left_alone(command, finished, tmp_path):
    """Interrupted by Ctrl-C, preempted, killed in a checkpoint and in the evaluation; at last its newest checkpoint
    is cut in half. (A process that is killed at its start leaves only a lock, as in runs/test_lock.py.)"""
    workdir = tmp_path / "run"
    checkpoints = workdir / "checkpoints"

    def run_until(happened, number=signal.SIGKILL):
        return stop_when(command.start_training(workdir), happened, number)

    metrics = workdir / "metrics.jsonl"
    begun = lambda: metrics.exists() and metrics.stat().st_size > 0  # noqa: E731
    code, out, err = run_until(begun, signal.SIGINT)
    assert code == 130
    assert not err
    step = int(out.splitlines()[-1].split()[3].rstrip(";"))
    assert (
        out.splitlines()[-1]
        == f"interrupted at step {step}; the same command continues from there."
    )
    assert {path.name for path in checkpoints.iterdir()} >= {str(step)}
    assert not (workdir / "lock.json").exists()
    code, out, err = run_until(lambda: (workdir / "lock.json").exists(), signal.SIGTERM)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1].startswith("preempted")
    assert not (workdir / "lock.json").exists()
    assert run_until(lambda: any(checkpoints.glob("*-tmp*")))[0] == -signal.SIGKILL
    assert (workdir / "lock.json").exists()
    assert run_until((checkpoints / "60").exists)[0] == -signal.SIGKILL
    assert not (workdir / "report.json").exists()

    data = max((checkpoints / "60" / "default").rglob("d/*"), key=lambda p: p.stat().st_size)
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    result = command.train(workdir)
    assert result.returncode == 0, result.stderr
    assert result.stderr.startswith("warning: checkpoint 60 cannot be read (")
    assert result.stderr.count("\n") == 1
    assert f"continuing {NAME} in {workdir} from step 40" in result.stdout
    assert_same_run(workdir, finished)


def test_a_finished_run_is_left_as_it_is(finished, capsys):
    before = files(finished)
    assert cli.main(command_of(finished)) == 0
    assert "The ELBO is a lower bound" in " ".join(capsys.readouterr().out.split())
    assert files(finished) == before


def command_of(workdir, *options) -> list[str]:
    return ["train", NAME, *SMALL, "--workdir", str(workdir), *options]


def test_the_report_of_a_run_says_what_makes_it_true(finished):
    report = json.loads((finished / "report.json").read_text())
    assert report["log_likelihood"]["prior_samples"] == 2
    assert (report["prior_samples"], report["num_test"]) == (4, 300)
    assert report["multipliers"]["nll"] == 1000.0  # held: 60 steps do not meet the constraint
    for part in (
        "ELBO is a lower bound on log p(x)", "Bernoulli likelihood", "4 inner samples",
        "binarised once with numpy seed 777",
        "rate + 1000 · nll, no bound on the negative log-likelihood",
    ):  # fmt: skip
        assert part in report["bound"]


def test_a_second_process_is_refused_while_the_first_trains(command, tmp_path, refusal):
    workdir = tmp_path / "run"
    process = command.start_training(workdir, "--num-steps", "100000000")
    try:
        deadline = time.monotonic() + 120
        while not (workdir / "lock.json").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        sentence = refusal(*command_of(workdir, "--num-steps", "100000000")[1:])
        assert f"workdir {workdir} is in use by process {process.pid} on" in sentence
        assert "since 20" in sentence
    finally:
        process.kill()
        process.communicate()


def test_another_number_of_samples_evaluates_again(finished, tmp_path):
    """Case 9; and nothing is trained."""
    run = shutil.copytree(finished, tmp_path / "run")
    before = files(run)
    assert cli.main(command_of(run, "--num-samples", "7", "--num-test", "9")) == 0
    report = json.loads((run / "report.json").read_text())
    assert report["log_likelihood"]["num_samples"] == 7
    assert report["log_likelihood"]["num_test"] == 9
    after = files(run)
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {"report.json", "config.json"}  # the plots are drawn again, and equal


def test_a_lower_rate_starts_from_the_last_good_parameters(finished, refusal, tmp_path, capsys):
    """Case 10. Adam's first step of 10³⁰ makes the second loss infinite."""
    bad, run = tmp_path / "bad", tmp_path / "run"
    options = ["--optimiser.learning-rate", "1e30", "--start-from", str(finished)]
    sentence = refusal(*command_of(bad, *options)[1:])
    assert sentence.startswith("the loss became non-finite at step 2, and training stopped; ")
    assert "the last finite metrics were: average/nll 2" in sentence
    assert (
        f"If {bad} holds a checkpoint, the new run can start from its parameters: start="
        in sentence
    )
    assert not (bad / "report.json").exists()
    options = ["--optimiser.learning-rate", "1e-5", "--start-from", str(finished)]
    assert cli.main(command_of(run, *options, "--num-steps", "10")) == 0
    config = json.loads((run / "config.json").read_text())
    assert len(config["start"]) == 16
    first = json.loads((run / "metrics.jsonl").read_text().splitlines()[0])
    last = json.loads((finished / "metrics.jsonl").read_text().splitlines()[-2])
    assert abs(first["elbo"] - last["elbo"]) < 1.0  # where the other run ended
    assert "differs in start" in refusal(*command_of(run, *options[:2])[1:])


def test_large_seeds_are_different_or_refused(refusal, tmp_path):
    """Case 5."""
    for seed in ("4294967297", "99999999999999999999"):
        sentence = refusal(NAME, "--seed", seed, "--workdir", tmp_path / "run")
        assert sentence == f"seed must be a whole number from 0 to 2147483647, got {seed}."
    assert not list(tmp_path.iterdir())


def test_another_generator_is_part_of_the_configuration(command, finished):
    """Case 6."""
    before = files(finished)
    result = command.train(finished, JAX_DEFAULT_PRNG_IMPL="rbg")
    assert result.returncode == 2
    assert result.stderr == (
        f"error: workdir {finished} holds a run of another configuration, which differs in prng "
        "(threefry2x32, now rbg): choose another workdir.\n"
    )
    assert files(finished) == before


OWN = """
import dataclasses
import functools

import flax.linen as nn
import numpy as np

from vaelab import data, likelihoods, models, networks, priors
from vaelab.constraints import CLA
from vaelab.runs import Experiment
from vaelab.training import ELBO, Lagrangian
from vaelab.training.duals import Geco


class Classifier:
    def __init__(self, weights):
        self.weights = weights

    def __call__(self, x):
        return nn.softmax(x.reshape(len(x), -1) @ self.weights)


def model(activation):
    return models.VAE(
        encoder=networks.ConditionalGaussian(networks.MLP((4,), event_ndims=3, activation=activation), dim=2),
        decoder=likelihoods.BernoulliDecoder(networks.MLP((4,)), shape=(8, 8, 1)),
        prior=priors.StandardNormal(2),
    )


def small(activation=nn.relu, objective=ELBO(), dual=None, data=data.Digits()):
    return Experiment(
        data, model(activation), objective, num_steps=2, dual=dual, log_every=1, evaluate_every=2,
        batch_size=10,
        num_samples=2, num_test=4, posterior_samples=1,
    )


WEIGHTS = np.random.default_rng(0).normal(size=(64, 10)).astype(np.float32)
EXPERIMENTS = {
    "partial": small(functools.partial(nn.leaky_relu, negative_slope=0.2)),
    "classifier": small(
        objective=Lagrangian({"cla": CLA(np.float32(0.3), classifier=Classifier(WEIGHTS))}),
        dual=Geco(), data=data.Digits(binarisation="dynamic"),
    ),
    "set": small(lambda x: x if x is {1} else SET and nn.relu(x)),
}
SET = {1, 2}
"""


def test_functions_and_objects_of_ones_own_are_recorded(refusal, tmp_path, monkeypatch, capsys):
    """Case 21. A refusal leaves nothing behind."""
    (tmp_path / "own_case_21.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    for name in ("partial", "classifier"):
        code = cli.main(["train", f"own_case_21.py:{name}", "--workdir", f"runs/{name}"])
        assert code == 0, capsys.readouterr().err
        config = json.loads((tmp_path / "runs" / name / "config.json").read_text())
        assert config["source"] == "own_case_21.py"
    trunk = json.loads((tmp_path / "runs/partial/config.json").read_text())["configuration"]["model"]["encoder"]["trunk"]  # fmt: skip
    assert trunk["activation"]["keywords"] == {"negative_slope": 0.2}
    capsys.readouterr()
    sentence = refusal("own_case_21.py:set", "--workdir", "runs/set")
    assert sentence.startswith(
        "model.encoder.trunk.activation.captured.SET = {1, 2} cannot be recorded"
    )
    assert not (tmp_path / "runs" / "set").exists()


def test_a_test_set_of_one_example_is_refused_before_training(refusal, tmp_path, monkeypatch):
    """Case 29."""
    text = OWN.replace("data=data.Digits()):", "data=ONE):").replace(
        "class Classifier", "X = np.zeros((30, 8, 8, 1), np.float32)\nONE = data.Arrays(X[:20], validation=X[:5], test=X[:1])\n\n\nclass Classifier",
    )  # fmt: skip
    (tmp_path / "own_case_29.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    for options in (["--num-test", "None"], ["--num-test", "2"]):
        assert "one" in refusal("own_case_29.py:partial", "--workdir", "run", *options)
        assert not (tmp_path / "run").exists()


def test_more_devices_than_divide_a_batch_are_used_in_part(command, tmp_path):
    """Case 30: and the same command continues on the devices that it names."""
    (tmp_path / "own_case_30.py").write_text(OWN)
    argv = ["-m", "vaelab", "train", "own_case_30.py:partial", "--workdir", "run"]
    options = {"devices": 8, "quick": True, "cwd": tmp_path, "PYTHONPATH": str(ROOT)}
    result = command(*argv, **options)
    assert result.returncode == 0, result.stderr
    assert not result.stderr
    assert (
        "note: 5 of 8 devices are used, the most that divide batch_size = 10: a multiple of 8 uses all.\n"
    ) in result.stdout
    assert (tmp_path / "run" / "report.json").exists()
    result = command(*argv, "--num-steps", "8", "--mesh.data", "2", **options)
    assert result.returncode == 0, result.stderr
    assert "continuing partial in run from step 2" in result.stdout
    assert "note: 2 of 8 devices are used.\n" in result.stdout
    result = command(*argv, "--num-steps", "8", "--mesh.data", "4", **options)
    assert result.returncode == 2
    assert result.stderr == (
        "error: mesh.data = 4 must divide batch_size = 10: choose 1, 2 or 5.\n"
    )


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root may mount a small file system here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill_disk_and_train(command, disk):
    """A run that finds room for its first checkpoint, not for its second; (workdir, filler)."""
    run, filler = disk / "run", disk / "filler"
    filler.write_bytes(bytes(1450 * 1024))
    result = command.train(run)
    assert result.returncode == 2
    assert result.stderr.startswith("error: the disk is full")
    assert result.stderr.count("\n") == 1
    assert not (run / "report.json").exists()
    return run, filler


def test_a_full_disk_is_one_sentence(command, finished, small_disk):
    run, _ = fill_disk_and_train(command, small_disk)
    assert (run / "checkpoints" / "20").is_dir()
    assert not (run / "lock.json").exists()


@pytest.mark.slow
def test_a_full_disk_can_be_mended(command, finished, small_disk):
    run, filler = fill_disk_and_train(command, small_disk)
    filler.unlink()
    result = command.train(run)
    assert result.returncode == 0, result.stderr
    for name in ("report.json", "metrics.jsonl"):
        assert (run / name).read_text() == (finished / name).read_text()
