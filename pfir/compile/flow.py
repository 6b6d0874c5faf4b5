"""The one data flow of `pfir compile`: load, analyse and select, train, build, verify, measure, deliver."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from pfir.artifact import SLOW_KERNELS, Artifact
from pfir.compile.calibration.samples import open_samples
from pfir.compile.calibration.sanity import with_checked_data
from pfir.compile.delivery import Delivery, deliver
from pfir.compile.dry_run import dry_run
from pfir.compile.measuring.evaluator import Evaluator
from pfir.compile.measuring.latency import (
    HostLatency,
    Verifiers,
    emulation,
    host_latency,
    instructions,
    run_device,
    verify_result,
)
from pfir.compile.measuring.verification_inputs import inputs_to_verify
from pfir.compile.outcome import Outcome
from pfir.compile.plan import plan
from pfir.compile.precision.codebooks import with_codebooks
from pfir.compile.precision.floats import fits_float16
from pfir.compile.preflight import Checked, check_early
from pfir.compile.prepare import fixed, prepare
from pfir.compile.replay import check_recipe, retrained_otherwise, train_options, tuned_otherwise, wanted_codebooks
from pfir.compile.request import AUTO_PRECISION, Request
from pfir.compile.run_context import Chosen, RunContext
from pfir.compile.selection.choosing import choose
from pfir.compile.selection.selection import Selection
from pfir.compile.stages import Stages
from pfir.compile.training.losses import check_losses
from pfir.compile.workspace import Workspace
from pfir.devices.base import Device
from pfir.ir.model import Model
from pfir.report.progress import Progress
from pfir.system.blas import one_blas_thread
from pfir.target import FLOAT32


@one_blas_thread()
def compile_model(request: Request, progress: Progress) -> Outcome:
    """Compress a model to the request's goals and deliver it.

    Raises:
        PfirError: See the exit codes of its subclasses; nothing half-written is left behind.
    """
    checked = check_early(request, progress.note)
    stages = Stages(progress)
    if request.dry_run:
        return dry_run(request, checked, stages)
    workspace = Workspace(request.output, request.force, request.resume)
    try:
        run = with_fitting_floats(loaded(request, checked, stages, progress))
        workspace.begin()
        with _device(run, checked) as device, emulation(run.backend, run.target, progress, request.where) as emulated:
            return _compressed(run, device, emulated, workspace)
    except BaseException:
        workspace.abandon()
        raise


def loaded(request: Request, checked: Checked, stages: Stages, progress: Progress) -> RunContext:
    """The model and the data, opened, checked against each other and against the backend."""
    with stages("load"):
        prepared = prepare(request, checked.target.lanes)
        check_recipe(prepared, request)
        sized = fixed(prepared.models.start, request)
        checked.backend.check(sized)
        samples = open_samples(request, sized, prepared.models.original)
        said = train_options(request)
        check_losses(samples, said, prepared.models.start, prepared.models.teacher, request.engine)
    return RunContext(request, checked.target, checked.backend, prepared, samples, plan(request), stages, progress)


def with_fitting_floats(run: RunContext) -> RunContext:
    """The run in float32 where pfir chose float16 and the model's values do not fit into it."""
    chosen = run.request.precision == AUTO_PRECISION and run.request.recipe is None
    if not chosen or run.target.arithmetic == FLOAT32 or fits_float16(run.models.start, run.samples.calibration):
        return run
    run.progress.note("some values are too large for float16: all floats are float32")
    return replace(run, target=replace(run.target, arithmetic=FLOAT32))


def _device(run: RunContext, checked: Checked) -> Device:
    """The device of the run; another one where its target is no longer what was checked."""
    return checked.device if run.target == checked.target else run_device(run.request.device, run.backend, run.target)


def _compressed(run: RunContext, device: Device, emulated: Device | None, workspace: Workspace) -> Outcome:
    """The run on the device: the original judged, a candidate selected and trained, then built and delivered."""
    run.progress.note(run.plan.text())
    run.progress.budget(None if run.plan.fixed_epochs else run.plan.total_s)
    evaluator = Evaluator(run.backend, device, run.target, run.request)
    with run.stages("judge the original"):
        before = evaluator.original_side(run.models.baseline, run.samples, run.models.original)
        limits = evaluator.limits(run.models.baseline)
        run = with_checked_data(run)
    chosen = choose(Selection(run, evaluator, workspace, limits))
    wanted = chosen.coder or wanted_codebooks(run.prepared, run.request)
    chosen = with_codebooks(run, chosen, wanted, workspace, train_options(run.request))
    with run.stages("build"):
        result = fixed(chosen.fine_tuned.model, run.request)
        artifact = _built(run, result)
        chosen = _with_notes(run, chosen, artifact)
    with run.stages("verify"):
        feeds = inputs_to_verify(run.samples.validation, result, artifact)
        verifiers = Verifiers(device, emulated, run.request.where)
        verification = verify_result(run.backend, artifact, result, verifiers, feeds, run.progress)
    with run.stages("measure"):
        after = evaluator.side(chosen.fine_tuned.model, run.samples, run.models.original)
        host, counted = _beside_the_target(run, (fixed(run.models.baseline, run.request), result), feeds[0], emulated)
        before = replace(before, host_latency_s=host.baseline_s, instructions=counted[0])
        after = replace(after, host_latency_s=host.result_s, instructions=counted[1])
    return deliver(run, Delivery(chosen, artifact, verification, before, after, host), workspace)


def _built(run: RunContext, result: Model) -> Artifact:
    return replace(run.backend.build(result, run.target), tuning=run.backend.tuning(result, run.target))


def _with_notes(run: RunContext, chosen: Chosen, artifact: Artifact) -> Chosen:
    trained = retrained_otherwise(run.request, chosen.fine_tuned.settings)
    told = (*slow_kernels(artifact), *tuned_otherwise(run.request, artifact.tuning), *trained)
    return replace(chosen, notes=(*chosen.notes, *told))


def _beside_the_target(
    run: RunContext, sized: tuple[Model, Model], feeds: Mapping[str, np.ndarray], emulated: Device | None
) -> tuple[HostLatency, list[int | None]]:
    """Latencies on this machine and instructions on the emulated one, each only where the time budget has room for it.

    What building for the target and verifying there took tells what they will take.
    """
    backend, target, stages = run.backend, run.target, run.stages
    host, counted = HostLatency(None, None, "not measured on this machine: no time was left (--time-budget)"), None
    if run.has_time(2 * stages.seconds("build")):
        host = host_latency(backend, *sized, target.arithmetic)
    if run.has_time(stages.seconds("build") + stages.seconds("verify")):
        counted = instructions(backend, sized, target, feeds, run.progress, emulated)
    return host, counted or [None, None]


def slow_kernels(artifact: Artifact) -> tuple[str, ...]:
    """The sentence that names what the backend computes by code it does not tune; none if there is nothing."""
    slow = artifact.notes.get(SLOW_KERNELS)
    return (f"These nodes have no tuned kernel and run slower than they could: {slow}.",) if slow else ()
