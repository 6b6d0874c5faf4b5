"""The one data flow: load, prepare, search, fine-tune, build, verify, report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from pfir.artifact import SLOW_KERNELS, Artifact
from pfir.compile.calibration.samples import open_samples
from pfir.compile.calibration.sanity import with_checked_data
from pfir.compile.delivery import deliver
from pfir.compile.dry_run import dry_run
from pfir.compile.measuring.evaluator import Evaluator
from pfir.compile.measuring.latency import HostLatency, emulation, host_latency, instructions, verify_result
from pfir.compile.measuring.verification_inputs import inputs_to_verify
from pfir.compile.outcome import Outcome
from pfir.compile.plan import plan
from pfir.compile.preflight import Checked, check_early
from pfir.compile.prepare import fixed, prepare
from pfir.compile.replay import check_recipe, tuned_otherwise
from pfir.compile.request import Request
from pfir.compile.run_context import RunContext
from pfir.compile.selection.choosing import choose
from pfir.compile.stages import Stages
from pfir.compile.workspace import Workspace
from pfir.devices.base import Device
from pfir.ir.model import Model
from pfir.report.progress import Progress
from pfir.system.blas import one_blas_thread


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
        run_context = _setting(request, checked, stages, progress)
        workspace.begin()
        with (
            checked.device as device,
            emulation(run_context.backend, run_context.target, progress, request.where) as emulated,
        ):
            return _run(run_context, device, emulated, workspace)
    except BaseException:
        workspace.abandon()
        raise


def _setting(request: Request, checked: Checked, stages: Stages, progress: Progress) -> RunContext:
    with stages("load"):
        original = prepare(request, checked.target.lanes)
        check_recipe(original, request)
        sized = fixed(original.start, request)
        checked.backend.check(sized)
        samples = open_samples(request, sized, original.model)
    return RunContext(request, checked.target, checked.backend, original, samples, plan(request), stages, progress)


def _run(run_context: RunContext, device: Device, emulated: Device | None, workspace: Workspace) -> Outcome:
    run_context.progress.note(run_context.plan.text())
    run_context.progress.budget(None if run_context.plan.fixed_epochs else run_context.plan.total_s)
    evaluator = Evaluator(run_context.backend, device, run_context.target, run_context.request)
    with run_context.stages("judge the original"):
        before = evaluator.side(run_context.original.baseline, run_context.samples, run_context.original.model)
        limits = evaluator.limits(run_context.original.baseline)
        run_context = with_checked_data(run_context)
    chosen = choose(run_context, evaluator, limits, workspace)
    with run_context.stages("build"):
        result = fixed(chosen.fine_tuned.model, run_context.request)
        tuning = run_context.backend.tuning(result, run_context.target)
        artifact = replace(run_context.backend.build(result, run_context.target), tuning=tuning)
        notes = (*chosen.notes, *slow_kernels(artifact), *tuned_otherwise(run_context.request, tuning))
        chosen = replace(chosen, notes=notes)
    with run_context.stages("verify"):
        feeds = inputs_to_verify(run_context.samples.validation, result, artifact)
        where = run_context.request.where
        verification = verify_result(
            run_context.backend, artifact, result, device, feeds, run_context.progress, emulated, where
        )
    with run_context.stages("measure"):
        after = evaluator.side(chosen.fine_tuned.model, run_context.samples, run_context.original.model)
        sized = (fixed(run_context.original.baseline, run_context.request), result)
        host, counted = _beside_the_target(run_context, sized, feeds[0], emulated)
        before = replace(before, host_latency_s=host.baseline_s, instructions=counted[0])
        after = replace(after, host_latency_s=host.result_s, instructions=counted[1])
    return deliver(run_context, chosen, artifact, verification, before, after, host, workspace)


def _beside_the_target(
    run_context: RunContext, sized: tuple[Model, Model], feeds: Mapping[str, np.ndarray], emulated: Device | None
) -> tuple[HostLatency, list[int | None]]:
    """Latencies on this machine and instructions on the emulated one, each only where the time budget has room for it.

    What building for the target and verifying there took tells what they will take.
    """
    backend, target, stages = run_context.backend, run_context.target, run_context.stages
    host, counted = HostLatency(None, None, "not measured on this machine: no time was left (--time-budget)"), None
    if run_context.has_time(2 * stages.seconds("build")):
        host = host_latency(backend, *sized, target.arithmetic)
    if run_context.has_time(stages.seconds("build") + stages.seconds("verify")):
        counted = instructions(backend, sized, target, feeds, run_context.progress, emulated)
    return host, counted or [None, None]


def slow_kernels(artifact: Artifact) -> tuple[str, ...]:
    """The sentence that names what the backend computes by code it does not tune; none if there is nothing."""
    slow = artifact.notes.get(SLOW_KERNELS)
    return (f"These nodes have no tuned kernel and run slower than they could: {slow}.",) if slow else ()
