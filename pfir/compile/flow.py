"""The one data flow: load, prepare, search, fine-tune, build, verify, report."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pfir.backends.base import Backend
from pfir.compile.building import first_samples, host_latency, verify_result
from pfir.compile.delivery import deliver
from pfir.compile.finetune import Tuned, fine_tune
from pfir.compile.judge import Judge
from pfir.compile.outcome import Outcome
from pfir.compile.plan import Plan, plan
from pfir.compile.prepare import Original, fixed, open_backend, prepare
from pfir.compile.pricing import Limits
from pfir.compile.replay import replay
from pfir.compile.request import Request
from pfir.compile.samples import Samples, open_samples
from pfir.compile.searching import Found, Ground, check_reachable, ground_for, search_for
from pfir.compile.stages import Stages
from pfir.compile.workspace import Workspace
from pfir.devices import open_device
from pfir.devices.base import Device
from pfir.report.progress import Progress
from pfir.target import Target, parse_target

ROUNDS = 3
"""Searches at most, each with a tighter limit, when a device measures less speed-up than the estimate promised."""
MARGIN = 0.98


@dataclass(frozen=True)
class Setting:
    """What a run works with, fixed before the search."""

    request: Request
    target: Target
    backend: Backend
    original: Original
    samples: Samples
    plan: Plan
    stages: Stages
    progress: Progress


@dataclass(frozen=True)
class Chosen:
    """The compressed model and how it came about."""

    found: Found
    tuned: Tuned


def compile_model(request: Request, progress: Progress) -> Outcome:
    """Compress a model to the request's goals and deliver it.

    Raises:
        PfirError: See the exit codes of its subclasses; nothing half-written is left behind.
    """
    stages = Stages(progress)
    setting = _setting(request, stages, progress)
    if request.dry_run:
        return _dry_run(setting)
    room = Workspace(request.output, request.force, request.resume)
    try:
        with open_device(request.device, setting.target) as device:
            return _run(setting, device, room)
    except BaseException:
        room.abandon()
        raise


def _setting(request: Request, stages: Stages, progress: Progress) -> Setting:
    with stages("load"):
        target = parse_target(request.target)
        original = prepare(request)
        backend = open_backend(request.backend)
        sized = fixed(original.start, request)
        backend.check(sized)
        samples = open_samples(request, sized.inputs())
    return Setting(request, target, backend, original, samples, plan(request), stages, progress)


def _dry_run(setting: Setting) -> Outcome:
    with open_device(None, setting.target) as device, setting.stages("analyse"):
        judge = Judge(setting.backend, device, setting.target, setting.request)
        ground = _ground(setting, judge)
        fastest = check_reachable(ground, judge.limits(setting.original.baseline))
    lines = (
        setting.plan.text(),
        f"{len(ground.coupling.free())} of {len(ground.coupling.groups)} groups of channels may be pruned",
        f"reachable speed-up: 1.00x to {fastest:.2f}x (estimate for {setting.target.core.name})",
    )
    return Outcome({"plan": setting.plan.text(), "reachable_speedup": fastest}, True, None, lines)


def _run(setting: Setting, device: Device, room: Workspace) -> Outcome:
    setting.progress.note(setting.plan.text())
    judge = Judge(setting.backend, device, setting.target, setting.request)
    with setting.stages("analyse"):
        before = judge.side(setting.original.baseline, setting.samples, setting.original.model)
        limits = judge.limits(setting.original.baseline)
    chosen = _choose(setting, judge, limits, room)
    with setting.stages("build"):
        result = fixed(chosen.tuned.model, setting.request)
        artifact = setting.backend.build(result, setting.target)
    with setting.stages("verify"):
        feeds = first_samples(setting.samples.validation, setting.request.batch)
        verification = verify_result(setting.backend, artifact, result, device, feeds, setting.progress)
    with setting.stages("measure"):
        after = judge.side(chosen.tuned.model, setting.samples, setting.original.model)
        host = host_latency(setting.backend, fixed(setting.original.baseline, setting.request), result)
        before = replace(before, host_latency_s=host.baseline_s)
        after = replace(after, host_latency_s=host.result_s)
    return deliver(setting, chosen, artifact, verification, before, after, host, room)


def _choose(setting: Setting, judge: Judge, limits: Limits, room: Workspace) -> Chosen:
    if setting.request.recipe is not None:
        with setting.stages("replay"):
            return Chosen(*replay(setting.original, setting.request))
    with setting.stages("analyse"):
        ground = _ground(setting, judge)
        check_reachable(ground, limits)
    found = _search(setting, judge, ground, limits, room)
    return Chosen(found, _tune(setting, ground, found, room))


def _ground(setting: Setting, judge: Judge) -> Ground:
    original = setting.original
    return ground_for(original.start, setting.request, setting.target, judge, setting.samples, original.baseline)


def _search(setting: Setting, judge: Judge, ground: Ground, limits: Limits, room: Workspace) -> Found:
    """Search; where a device measures, search again under a tighter limit until it confirms the speed-up."""
    for attempt in range(ROUNDS):
        with setting.stages("search" if attempt == 0 else f"search again ({attempt + 1})"):
            found = search_for(ground, limits, setting.plan, setting.request, room.journal(attempt), setting.progress)
        excess = judge.excess(found.model, setting.original.baseline)
        if excess <= 1 or attempt == ROUNDS - 1:
            return found
        setting.progress.note(f"measured, it takes {excess:.2f} times what is allowed; the limit is tightened")
        limits = replace(limits, latency_s=limits.latency_s / excess * MARGIN)
    raise AssertionError("unreachable")


def _tune(setting: Setting, ground: Ground, found: Found, room: Workspace) -> Tuned:
    budget = setting.plan.training_s(setting.stages.elapsed_s)
    if not setting.plan.epochs or (budget is not None and budget <= 0):
        return Tuned(found.model, notes=() if setting.plan.epochs == 0 else ("no time was left to fine-tune",))
    with setting.stages("fine-tune"):
        return fine_tune(
            found.model, ground.candidates.model, setting.samples, ground.activations, setting.plan.epochs, budget,
            setting.request.seed, setting.request.jobs, room.checkpoint, setting.progress,
        )  # fmt: skip
