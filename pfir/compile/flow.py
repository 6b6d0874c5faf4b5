"""The one data flow: load, prepare, search, fine-tune, build, verify, report."""

from __future__ import annotations

from dataclasses import replace

from pfir.artifact import SLOW_KERNELS, Artifact
from pfir.compile.building import emulation, host_latency, instructions, run_device, verify_result
from pfir.compile.cases import inputs_to_verify
from pfir.compile.choosing import choose
from pfir.compile.delivery import check_depfile, deliver
from pfir.compile.judge import Judge
from pfir.compile.outcome import Outcome
from pfir.compile.plan import plan
from pfir.compile.prepare import fixed, open_backend, prepare, wanted_target
from pfir.compile.replay import check_recipe, tuned_otherwise
from pfir.compile.request import Request
from pfir.compile.samples import open_samples
from pfir.compile.searching import check_reachable, fastest, ground_for, with_branches
from pfir.compile.setting import Setting
from pfir.compile.stages import Stages
from pfir.compile.workspace import Workspace
from pfir.devices.base import Device
from pfir.report.progress import Progress


def compile_model(request: Request, progress: Progress) -> Outcome:
    """Compress a model to the request's goals and deliver it.

    Raises:
        PfirError: See the exit codes of its subclasses; nothing half-written is left behind.
    """
    check_depfile(request)
    stages = Stages(progress)
    setting = _setting(request, stages, progress)
    if request.dry_run:
        return _dry_run(setting)
    room = Workspace(request.output, request.force, request.resume)
    try:
        with (
            run_device(request.device, setting.backend, setting.target) as device,
            emulation(setting.backend, setting.target, progress, request.where) as emulated,
        ):
            return _run(setting, device, emulated, room)
    except BaseException:
        room.abandon()
        raise


def _setting(request: Request, stages: Stages, progress: Progress) -> Setting:
    with stages("load"):
        target = wanted_target(request)
        request.where.check(request.backend, target)
        original = prepare(request, target.lanes)
        check_recipe(original, request)
        backend = open_backend(request.backend, request.tuned, progress.note)
        sized = fixed(original.start, request)
        backend.check(sized)
        samples = open_samples(request, sized, original.model)
    return Setting(request, target, backend, original, samples, plan(request), stages, progress)


def _dry_run(setting: Setting) -> Outcome:
    original, request = setting.original, setting.request
    if original.pruning is None:
        return Outcome({"plan": setting.plan.text()}, True, None, (setting.plan.text(), "nothing will be pruned"))
    with run_device(None, setting.backend, setting.target) as device, setting.stages("analyse"):
        judge = Judge(setting.backend, device, setting.target, request)
        ground = with_branches(ground_for(original, original.pruning, request, judge, setting.samples))
        check_reachable(ground, judge.limits(original.baseline))
        most = fastest(ground)
    lines = (
        setting.plan.text(),
        f"{len(ground.coupling.free())} of {len(ground.coupling.groups)} groups of channels may be pruned",
        f"reachable speed-up: 1.00x to {most:.2f}x (estimate for {setting.target.core.name})",
    )
    return Outcome({"plan": setting.plan.text(), "reachable_speedup": most}, True, None, lines)


def _run(setting: Setting, device: Device, emulated: Device | None, room: Workspace) -> Outcome:
    setting.progress.note(setting.plan.text())
    judge = Judge(setting.backend, device, setting.target, setting.request)
    with setting.stages("judge the original"):
        before = judge.side(setting.original.baseline, setting.samples, setting.original.model)
        limits = judge.limits(setting.original.baseline)
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
        host = host_latency(setting.backend, *sized, setting.target.arithmetic)
        counted = instructions(setting.backend, sized, setting.target, feeds[0], setting.progress, emulated)
        before = replace(before, host_latency_s=host.baseline_s, instructions=counted[0])
        after = replace(after, host_latency_s=host.result_s, instructions=counted[1])
    return deliver(setting, chosen, artifact, verification, before, after, host, room)


def slow_kernels(artifact: Artifact) -> tuple[str, ...]:
    """The sentence that names what the backend computes by code it does not tune; none if there is nothing."""
    slow = artifact.notes.get(SLOW_KERNELS)
    return (f"These nodes have no tuned kernel and run slower than they could: {slow}.",) if slow else ()
