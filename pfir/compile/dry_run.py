"""`--dry-run`: the plan of a run and what it could reach, without data being run through the model."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from pfir.compile.calibration.samples import open_samples
from pfir.compile.measuring.evaluator import Evaluator
from pfir.compile.methods.base import Method
from pfir.compile.methods.passes import whole_cost
from pfir.compile.methods.pricing import Limits, Pricing
from pfir.compile.methods.reach import Reach
from pfir.compile.methods.sizing import Sizing
from pfir.compile.outcome import Outcome
from pfir.compile.plan import plan
from pfir.compile.preflight import Checked
from pfir.compile.prepare import Prepared, fixed, prepare
from pfir.compile.replay import check_recipe
from pfir.compile.request import Request
from pfir.compile.selection.search_context import method_for
from pfir.compile.stages import Stages
from pfir.ir.costs.model_cost import Cost, model_cost
from pfir.report import wording


def dry_run(request: Request, checked: Checked, stages: Stages) -> Outcome:
    """The plan and the range that goals can be chosen from; nothing is written.

    Raises:
        FrontendError: The model cannot be used.
        DataError: The data does not fit it.
        Infeasible: No channel may go, or the goal is out of reach; the text says what is within it.
    """
    with stages("load"):
        prepared = prepare(request, checked.target.lanes)
        check_recipe(prepared, request)
        sized = fixed(prepared.models.start, request)
        checked.backend.check(sized)
        if request.data is not None:
            open_samples(request, sized, prepared.models.original)
    said = _without_search(request, prepared)
    if said is not None:
        return Outcome({"plan": said}, True, None, (said, "nothing will be searched"))
    with stages("analyse"):
        return _ranges(request, checked, prepared)


def _without_search(request: Request, prepared: Prepared) -> str | None:
    if request.recipe is not None and not request.retrain:
        return f"plan: {request.recipe} is replayed: the channels and the weights that it names"
    return None if prepared.searched else f"{plan(request).text()}; --passes prunes nothing"


def _ranges(request: Request, checked: Checked, prepared: Prepared) -> Outcome:
    models, estimator = prepared.models, checked.backend.estimator(checked.target)
    evaluator = Evaluator(checked.backend, estimator, checked.target, request)
    sizing = Sizing(partial(fixed, request=request), checked.backend.grouping(checked.target))
    methods = tuple(method_for(each.opened(), models.start, request, sizing, None) for each in prepared.searched)
    prices = Pricing(methods, whole_cost(methods, models.start, sizing), estimator)
    baseline_s = evaluator.original_latency(models.baseline).seconds
    ends = tuple(_end(prices, baseline_s, costly_first) for costly_first in (False, True))
    _check(ends, evaluator.limits(models.baseline))
    return _told(request, model_cost(fixed(models.baseline, request)), methods, ends, checked.target.core.name)


def _end(prices: Pricing, baseline_s: float, costly_first: bool) -> Reach:
    """What a search can reach at least, or at most, as far as that shows without any trial."""
    return Reach(prices.of(tuple(m.bounded(prices.device, costly_first) for m in prices.methods)), baseline_s)


def _check(ends: Sequence[Reach], limits: Limits) -> None:
    """Return only if one of the ends meets the limits."""
    if not any(end.meets(limits) for end in ends):
        max(ends, key=lambda end: end.speedup).check(limits)


def _told(request: Request, cost: Cost, methods: Sequence[Method], ends: Sequence[Reach], core: str) -> Outcome:
    speedups = sorted(end.speedup for end in ends)
    sizes = sorted(cost.size_bytes / max(end.size_bytes, 1) for end in ends)
    shares = sorted((end.macs / max(cost.macs, 1) for end in ends), reverse=True)
    least_s = ends[0].baseline_s / speedups[0]
    lines = (
        plan(request).text(),
        *(method.summary for method in methods),
        f"reachable speed-up: 1.00x to {_range('{:.2f}x', speedups)} (--speedup); latency: "
        f"{wording.duration(ends[0].baseline_s)} to {wording.duration(least_s)} (--latency); estimates for {core}",
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
