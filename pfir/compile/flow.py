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
from pfir.compile.measuring.evaluator import Judge
from pfir.compile.measuring.latency import HostLatency, emulation, host_latency, instructions, verify_result
from pfir.compile.measuring.verification_inputs import inputs_to_verify
from pfir.compile.outcome import Outcome
from pfir.compile.plan import plan
from pfir.compile.preflight import Checked, check_early
from pfir.compile.prepare import fixed, prepare
from pfir.compile.replay import check_recipe, tuned_otherwise
from pfir.compile.request import Request
from pfir.compile.run_context import Setting
from pfir.compile.selection.choosing import choose
from pfir.compile.stages import Stages
from pfir.compile.workspace import Workspace
from pfir.devices.base import Device
from pfir.ir.model import Model
from pfir.report.progress import Progress


def compile_model(request: Request, progress: Progress) -> Outcome:
    """Compress a model to the request's goals and deliver it.

    Raises:
        PfirError: See the exit codes of its subclasses; nothing half-written is left behind.
    """
    checked = check_early(request, progress.note)
    stages = Stages(progress)
    if request.dry_run:
        return dry_run(request, checked, stages)
    room = Workspace(request.output, request.force, request.resume)
    try:
        setting = _setting(request, checked, stages, progress)
        room.begin()
        with (
            checked.device as device,
            emulation(setting.backend, setting.target, progress, request.where) as emulated,
        ):
            return _run(setting, device, emulated, room)
    except BaseException:
        room.abandon()
        raise


def _setting(request: Request, checked: Checked, stages: Stages, progress: Progress) -> Setting:
    with stages("load"):
        original = prepare(request, checked.target.lanes)
        check_recipe(original, request)
        sized = fixed(original.start, request)
        checked.backend.check(sized)
        samples = open_samples(request, sized, original.model)
    return Setting(request, checked.target, checked.backend, original, samples, plan(request), stages, progress)


def _run(setting: Setting, device: Device, emulated: Device | None, room: Workspace) -> Outcome:
    setting.progress.note(setting.plan.text())
    setting.progress.budget(None if setting.plan.fixed_epochs else setting.plan.total_s)
    judge = Judge(setting.backend, device, setting.target, setting.request)
    with setting.stages("judge the original"):
        before = judge.side(setting.original.baseline, setting.samples, setting.original.model)
        limits = judge.limits(setting.original.baseline)
        setting = with_checked_data(setting)
    chosen = choose(setting, judge, limits, room)
    with setting.stages("build"):
        result = fixed(chosen.tuned.model, setting.request)
        tuning = setting.backend.tuning(result, setting.target)
        artifact = replace(setting.backend.build(result, setting.target), tuning=tuning)
        notes = (*chosen.notes, *slow_kernels(artifact), *tuned_otherwise(setting.request, tuning))
        chosen = replace(chosen, notes=notes)
    with setting.stages("verify"):
        feeds = inputs_to_verify(setting.samples.validation, result, artifact)
        where = setting.request.where
        verification = verify_result(
            setting.backend, artifact, result, device, feeds, setting.progress, emulated, where
        )
    with setting.stages("measure"):
        after = judge.side(chosen.tuned.model, setting.samples, setting.original.model)
        sized = (fixed(setting.original.baseline, setting.request), result)
        host, counted = _beside_the_target(setting, sized, feeds[0], emulated)
        before = replace(before, host_latency_s=host.baseline_s, instructions=counted[0])
        after = replace(after, host_latency_s=host.result_s, instructions=counted[1])
    return deliver(setting, chosen, artifact, verification, before, after, host, room)


def _beside_the_target(
    setting: Setting, sized: tuple[Model, Model], feeds: Mapping[str, np.ndarray], emulated: Device | None
) -> tuple[HostLatency, list[int | None]]:
    """Latencies on this machine and instructions on the emulated one, each only where the time budget has room for it.

    What building for the target and verifying there took tells what they will take.
    """
    backend, target, stages = setting.backend, setting.target, setting.stages
    host, counted = HostLatency(None, None, "not measured on this machine: no time was left (--time-budget)"), None
    if setting.has_time(2 * stages.seconds("build")):
        host = host_latency(backend, *sized, target.arithmetic)
    if setting.has_time(stages.seconds("build") + stages.seconds("verify")):
        counted = instructions(backend, sized, target, feeds, setting.progress, emulated)
    return host, counted or [None, None]


def slow_kernels(artifact: Artifact) -> tuple[str, ...]:
    """The sentence that names what the backend computes by code it does not tune; none if there is nothing."""
    slow = artifact.notes.get(SLOW_KERNELS)
    return (f"These nodes have no tuned kernel and run slower than they could: {slow}.",) if slow else ()
