"""`--dry-run`: the plan of a run and what it could reach, without data being run through the model."""

from __future__ import annotations

from collections.abc import Sequence

from pfir.compile.calibration.samples import open_samples
from pfir.compile.measuring.evaluator import Evaluator
from pfir.compile.methods.pricing import Limits, pricing
from pfir.compile.methods.reach import Reach, without_branches
from pfir.compile.outcome import Outcome
from pfir.compile.plan import plan
from pfir.compile.preflight import Checked
from pfir.compile.prepare import Original, fixed, prepare
from pfir.compile.replay import check_recipe
from pfir.compile.request import Request
from pfir.compile.selection.searching import nothing_free
from pfir.compile.stages import Stages
from pfir.devices.estimation.estimate import EstimateDevice
from pfir.errors import Infeasible
from pfir.ir.costs.model_cost import model_cost
from pfir.ir.costs.scalable import ScalableKernels
from pfir.ir.coupling.channels import channel_counts, channel_groups
from pfir.ir.coupling.groups import Coupling
from pfir.passes.pruning.prune_channels import PruneChannels
from pfir.report import words


def dry_run(request: Request, checked: Checked, stages: Stages) -> Outcome:
    """The plan and the range that goals can be chosen from; nothing is written.

    Raises:
        FrontendError: The model cannot be used.
        DataError: The data does not fit it.
        Infeasible: No channel may go, or the goal is out of reach; the text says what is within it.
    """
    with stages("load"):
        original = prepare(request, checked.target.lanes)
        check_recipe(original, request)
        sized = fixed(original.start, request)
        checked.backend.check(sized)
        if request.data is not None:
            open_samples(request, sized, original.model)
    said = _without_search(request, original)
    if said is not None:
        return Outcome({"plan": said}, True, None, (said, "nothing will be searched"))
    with stages("analyse"):
        return _ranges(request, checked, original, original.pruning)


def _without_search(request: Request, original: Original) -> str | None:
    if request.recipe is not None and not request.retrain:
        return f"plan: {request.recipe} is replayed: the channels and the weights that it names"
    return None if original.pruning else f"{plan(request).text()}; --passes prunes nothing"


def _ranges(request: Request, checked: Checked, original: Original, pruning: PruneChannels) -> Outcome:
    coupling = channel_groups(original.start, request.keep, request.only)
    if not coupling.free():
        raise Infeasible(nothing_free(coupling))
    estimator = EstimateDevice(checked.target)
    evaluator = Evaluator(checked.backend, estimator, checked.target, request)
    scalable = ScalableKernels(fixed(original.start, request), channel_counts(coupling))
    prices = pricing(coupling, scalable, estimator, pruning.align, Limits())
    baseline_s = evaluator.latency(original.baseline).seconds
    ends = tuple(Reach(without_branches(prices, coupling.branches, costly), baseline_s) for costly in (False, True))
    _check(ends, evaluator.limits(original.baseline))
    return _told(request, original, coupling, ends, checked.target.core.name)


def _check(ends: Sequence[Reach], limits: Limits) -> None:
    """Return only if one of the ends meets the limits."""
    if not any(end.meets(limits) for end in ends):
        max(ends, key=lambda end: end.speedup).check(limits)


def _told(request: Request, original: Original, coupling: Coupling, ends: Sequence[Reach], core: str) -> Outcome:
    cost = model_cost(fixed(original.baseline, request))
    speedups = sorted(end.speedup for end in ends)
    sizes = sorted(cost.size_bytes / max(end.size_bytes, 1) for end in ends)
    shares = sorted((end.macs / max(cost.macs, 1) for end in ends), reverse=True)
    least_s = ends[0].baseline_s / speedups[0]
    lines = (
        plan(request).text(),
        f"{len(coupling.free())} of {len(coupling.groups)} groups of channels may be pruned",
        f"reachable speed-up: 1.00x to {_range('{:.2f}x', speedups)} (--speedup); latency: "
        f"{words.duration(ends[0].baseline_s)} to {words.duration(least_s)} (--latency); estimates for {core}",
        f"reachable size: 1.00x to {_range('{:.2f}x', sizes)} smaller (--size)",
        f"reachable share of the MACs: 1 to {_range('{:.3g}', shares)} (--macs)",
        "the nearer to these ends, the less is left of the accuracy",
    )
    facts = {
        "plan": plan(request).text(),
        "reachable_speedup": speedups[0],
        "reachable_latency_s": least_s,
        "reachable_size": sizes[0],
        "reachable_macs": shares[0],
    }
    return Outcome(facts, True, None, lines)


def _range(form: str, ends: Sequence[float]) -> str:
    """The nearer end, and where it differs the farther one, which needs the right residual branches to go."""
    near, far = (form.format(end) for end in ends)
    return near if near == far else f"{near}, perhaps {far}"
