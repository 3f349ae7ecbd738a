"""Training as a function: from an experiment to its result."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Sequence
from types import ModuleType
from typing import Any, overload

import numpy as np
from etils import epath

from vaelab import processes
from vaelab.checks import UsageError
from vaelab.runs import display
from vaelab.runs.experiment import Experiment, check_kind
from vaelab.runs.history import History
from vaelab.runs.members import Member, check_members
from vaelab.runs.mesh import Mesh
from vaelab.runs.programs import Members, Program
from vaelab.runs.result import Result, make_result
from vaelab.runs.run import Run
from vaelab.runs.shared_hooks import SharedHooks
from vaelab.runs.start import StartingPoint, starting_point
from vaelab.runs.store import Store
from vaelab.runs.sweep_folder import SweepFolder, as_recorded
from vaelab.runs.trained import Trained
from vaelab.runs.workdir import Workdir
from vaelab.signals import Preempted, Reason, interruptible
from vaelab.training import sharding
from vaelab.training.checkpoint import checksums, with_key_data
from vaelab.training.feeds import FedSteps
from vaelab.training.hooks import Hook, Metrics
from vaelab.training.loop import fit
from vaelab.training.nonfinite import NonFiniteLossError
from vaelab.training.state import TrainState
from vaelab.types import Splits


@overload
def train(experiment: Experiment, *, members: None = None, **settings: Any) -> Result: ...
@overload
def train(
    experiment: Experiment, *, members: Sequence[Member], **settings: Any
) -> list[Result]: ...
def train(
    experiment: Experiment,
    *,
    splits: Splits | None = None,
    workdir: epath.PathLike | None = None,
    start: Trained | epath.PathLike | None = None,
    members: Sequence[Member] | None = None,
    mesh: Mesh | None = None,
    hooks: Sequence[Hook] = (),
    name: str = "experiment",
    data_dir: str | None = None,
    progress: bool = True,
    streaming: bool | None = None,
    source: str | None = None,
    modules: Sequence[ModuleType | str] = (),
    **changes: Any,
) -> Any:
    """Trains an experiment, in memory or in a workdir. Ctrl-C ends training and returns what there is.

    With a workdir, SIGTERM ends training with a checkpoint and then the process, with exit code 0.

    Args:
      experiment: model, data, objective, optimiser and length.
      splits: data in the place of `experiment.data.load()`.
      workdir: folder for checkpoints, metrics, report and plots. The same call resumes there, and a
        larger `num_steps` continues a finished run. None trains in memory.
      start: a `Result`, a `Trained` or its folder. A run of the same experiment is continued, to a
        larger `num_steps`. Of any other the parameters are the start of a new run.
      members: values of fields by their dotted paths, such as {"optimiser.learning_rate": 1e-3,
        "seed": 1}, one for each member. All members train in one program; see `runs.grid`.
      mesh: the devices. None uses as many as divide the batch and the members. A run that was
        trained on other devices is continued on these.
      hooks: called with metrics and checkpoints.
      name: name of the experiment in reports and plots.
      data_dir: folder of the data files. None takes $VAELAB_DATA, else ~/.cache/vaelab.
      progress: True shows a progress bar.
      streaming: True streams the training set from its files, or from the machine's memory, while the
        devices train. False keeps it on the devices. None streams it if it takes more than a quarter of the
        device's memory or of the machine's. The batches are the same.
      source: file that defines the experiment, which config.json records.
      modules: modules that define types of your own, if `start` is a folder.
      changes: other values of the experiment's fields.

    Returns:
      The result; with members a list of results in their order.

    Raises:
      UsageError: experiment, data or workdir do not fit: one sentence.

    >>> from vaelab import data, likelihoods, models, networks, priors, training
    >>> model = models.VAE(
    ...     encoder=networks.ConditionalGaussian(networks.MLP((16,), event_ndims=3), dim=2),
    ...     decoder=likelihoods.BernoulliDecoder(networks.MLP((16,)), shape=(8, 8, 1)),
    ...     prior=priors.StandardNormal(2),
    ... )
    >>> experiment = Experiment(data.Digits(), model, training.ELBO(), num_steps=20)
    >>> result = train(experiment, progress=False, log_every=10)
    >>> result.step, result.history.steps("elbo")
    (20, array([10, 20]))
    """
    check_kind("experiment", experiment, Experiment)
    with processes.agreeing_on_errors():
        run = Run.load(
            experiment.with_fields(**changes),
            data_dir,
            splits=splits,
            name=name,
            streaming=streaming,
        )
    progress = progress and processes.is_primary()
    settings = (tuple(hooks), progress, source)
    devices = mesh or Mesh()
    if progress:
        display.say(run.notes)
    if members is None:
        single = Program(run, devices=devices)
        point = starting_point(start, single, modules)
        if workdir is None:
            (result,) = _train(single, Store(), point, *settings)
            return result
        with Workdir(workdir).opened() as folder:
            (result,) = _train(single, folder, point, *settings)
            if not result.interrupted:
                folder.finish(result)
            return result
    if workdir is None:
        program = Members(run, tuple(members), devices=devices)
        return _train(program, Store(), starting_point(start, program, modules), *settings)
    check_members(run.experiment, members)
    trained: list[tuple[Member, Result]] = []
    with SweepFolder(workdir).opened() as sweep:
        for group in sweep.groups(run, members):
            program = Members(run, group.members, devices=devices)
            try:
                results = _train(program, group, starting_point(start, program, modules), *settings)
                group.finish(results)
            finally:
                group.close()
            trained += zip(group.members, results, strict=True)
            if results[0].interrupted:
                break
    found = [
        [result for other, result in trained if other == member] for member in as_recorded(members)
    ]
    return [result for results in found for result in results]


def _train(
    program: Program,
    store: Store,
    point: StartingPoint,
    hooks: tuple[Hook, ...],
    progress: bool,
    source: str | None,
) -> list[Result]:
    """Trains a program from its newest state to its end."""
    with processes.agreeing_on_errors():
        store.check(program, point.digest)
        experiment, mesh = program.run.experiment, program.mesh()
        timetable, shapes = experiment.timetable, program.shapes(mesh)
    state = store.restore(shapes, program)
    resumed = state is not None
    state = point.state if state is None else state
    step = 0 if state is None else int(state.step)
    processes.check_same_step(step, store.place)
    reason, repeats = Reason.NONE, False
    if state is not None and timetable.stopped(state):
        _claim(program, store, point, source)
        histories = _histories(program, store, point, step, resumed)
        if progress and resumed and program.alone:
            print(f"{program.label} in {store.place} is finished at step {step}")
        if not resumed:
            store.adopt(state, histories)
    else:
        with processes.agreeing_on_errors():
            feed = program.feed(mesh)
            run_steps = program.compile_steps(mesh, feed.capacity)
            wait = program.compile_ahead(run_steps, shapes, feed)
            program.compile_validation(shapes)
        if state is None:
            state = program.initial_state(point.params)
            processes.check_same_start(_checksum(state))
        with processes.agreeing_on_errors():
            wait()
        processes.barrier()  # everything is read
        repeats = store.set_aside_after(step)
        _claim(program, store, point, source)
        histories = _histories(program, store, point, step, resumed)
        processes.barrier()  # the metrics are read
        store.start_training(step, histories)
        if progress:
            display.say(program.devices.sentences(mesh, experiment.batch_size))
        with contextlib.ExitStack() as stack:
            stack.enter_context(feed)
            stop = stack.enter_context(interruptible(resumable=bool(store.place)))
            shared = SharedHooks((_Recorder(program, histories), store, *hooks), stop)
            if progress:
                bar = display.TrainingProgress(program.label, experiment.num_steps, step)
                shared.hooks += (stack.enter_context(bar),)
                bar.announce(store.place, resumed or step > 0, repeats)
            placed, state = program.place(state, mesh), None  # one copy on the devices
            try:
                state = fit(
                    placed,
                    run_steps=FedSteps(run_steps, feed, step),
                    timetable=timetable,
                    validate=lambda variables: program.validate(sharding.local(variables)),
                    hooks=(shared,),
                    nonfinite_limit=experiment.nonfinite_limit,
                    interrupted=shared.interrupted,
                    unlogged=store.unlogged(step) if resumed else {},
                    agreed=shared.fewest,
                )
            except NonFiniteLossError as error:
                raise UsageError(f"{error} {_remedy(store)}") from error
            shared.raise_error()
            reason = Reason(int(processes.gather(np.asarray(int(stop()))).max()))
        if reason is Reason.PREEMPTION:
            store.close()
            raise Preempted(
                f"preempted at step {int(state.step)}; the same command continues from there."
            )
    interrupted = bool(reason) and not timetable.stopped(state)
    states = program.member_states(state)
    return [
        make_result(run, each, history, interrupted=interrupted, started_from=point.digest)
        for run, each, history in zip(program.runs, states, histories, strict=True)
    ]


class _Recorder(Hook):
    """Appends the metrics of each member to its history."""

    def __init__(self, program: Program, histories: list[History]):
        self._program, self._histories = program, histories

    def on_metrics(self, step: int, metrics: Metrics) -> None:
        for history, row in zip(self._histories, self._program.member_rows(metrics), strict=True):
            history.and_row(step, row)


def _histories(
    program: Program, store: Store, point: StartingPoint, step: int, resumed: bool
) -> list[History]:
    """The metrics until this step: those that are kept with the state, or those of the start."""
    if resumed:
        return store.histories(step)
    return [point.history.until(step) for _ in program.runs]


def _claim(program: Program, store: Store, point: StartingPoint, source: str | None) -> None:
    processes.barrier()  # what is there has been read
    with processes.agreeing_on_errors():
        store.claim(program, source, point.digest)


def _checksum(state: TrainState) -> int:
    """One number for a state on one device. 0 in a single process, which compares it with nothing."""
    if processes.count() == 1:
        return 0
    return zlib.crc32(repr(checksums(with_key_data(state))).encode())


def _remedy(store: Store) -> str:
    remedy = "Lower optimiser.learning_rate"
    if not store.place:
        return f"{remedy}."
    return (
        f"{remedy} and choose another workdir. If {store.place} holds a checkpoint, the new run can start "
        "from its parameters: start=, or --start-from."
    )
