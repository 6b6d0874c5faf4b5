"""`--dry-run`: the plan of a run and what it could reach, without data being run through the model."""

from __future__ import annotations

from collections.abc import Sequence

from pfir.compile.calibration.samples import open_samples
from pfir.compile.measuring.evaluator import Evaluator
from pfir.compile.methods.asked import quantizer
from pfir.compile.methods.passes import whole_cost
from pfir.compile.methods.pricing import Limits, Pricing
from pfir.compile.methods.reach import Reach
from pfir.compile.outcome import Outcome
from pfir.compile.plan import plan
from pfir.compile.precision.choice import prices_for
from pfir.compile.precision.compositions import smallest_sizes
from pfir.compile.precision.layers import FLOATS, Precision
from pfir.compile.precision.split import Prices, cheapest
from pfir.compile.preflight import Checked
from pfir.compile.prepare import Prepared, RunModels, fixed, prepare
from pfir.compile.replay import check_recipe
from pfir.compile.request import AUTO_PRECISION, Request
from pfir.compile.selection.composing import is_to_be_composed
from pfir.compile.selection.search_context import method_for, sizing_for
from pfir.compile.stages import Stages
from pfir.errors import FrontendError
from pfir.ir.costs.model_cost import Cost, model_cost
from pfir.passes.base import Pass
from pfir.report import wording
from pfir.target import FLOAT16, FLOAT32, INT8


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
    return None if prepared.open else f"{plan(request).text()}; --passes prunes nothing"


def _ranges(request: Request, checked: Checked, prepared: Prepared) -> Outcome:
    models, estimator = prepared.models, checked.backend.estimator(checked.target)
    evaluator = Evaluator(checked.backend, estimator, checked.target, request)
    prices = prices_for(request, models.start, evaluator, estimator)
    precision = _farthest(request, prices)
    sizing = sizing_for(request, evaluator, precision)
    methods = tuple(method_for(each, models.start, request, sizing, None) for each in _opened(prepared))
    pricing = Pricing(methods, whole_cost(methods, models.start, sizing), estimator)
    baseline_s = evaluator.original_latency(models.baseline).seconds
    ends = tuple(_end(pricing, baseline_s, costly_first) for costly_first in (False, True))
    cost, core = model_cost(fixed(models.baseline, request)), checked.target.core.name
    times = _times_smaller(request, models, ends, cost, limits := evaluator.limits(models.baseline))
    if request.goals.size is None or max(times) < request.goals.size or not is_to_be_composed(request, limits):
        _check(ends, limits)
    said = (*(method.summary for method in methods), *_of_eight_bits(precision, prices, baseline_s, cost))
    return _told(request, cost, said, ends, core, times)


def _opened(prepared: Prepared) -> tuple[Pass, ...]:
    """The passes of the search with all that one may choose, but for bits of weights that are fixed."""
    return (*(each.opened() for each in prepared.searched), *prepared.open[len(prepared.searched) :])


def _farthest(request: Request, prices: Prices) -> Precision:
    """The precision by which most can be reached."""
    if request.precision in (FLOAT32.name, FLOAT16.name) or not prices.layers:
        return FLOATS
    given = quantizer(request.passes)
    if given is not None:
        return Precision(True, prices.kept, given.bits)
    if request.passes is not None and request.precision == AUTO_PRECISION:
        return FLOATS
    if request.precision == INT8 or request.goals.size is not None:
        return prices.integers
    try:
        return cheapest(prices)
    except FrontendError:  # its opset has no integers with a scale for each channel
        return FLOATS


def _of_eight_bits(precision: Precision, prices: Prices, baseline_s: float, cost: Cost) -> tuple[str, ...]:
    """What eight bits alone would give, in a line; nothing where no layer has them."""
    if not precision.integers:
        return ()
    count = len(set(prices.layers) - set(precision.left_in_float))
    speedup, size = baseline_s / prices.seconds(precision), cost.size_bytes / prices.cost(precision).size_bytes
    return (
        f"{count} of {len(prices.layers)} layers may compute in eight bits: alone they make it "
        f"{wording.about(speedup)} as fast by estimate, {size:.2f}x smaller",
    )


def _end(prices: Pricing, baseline_s: float, costly_first: bool) -> Reach:
    """What a search can reach at least, or at most, as far as that shows without any trial."""
    return Reach(prices.of(tuple(m.bounded(prices.device, costly_first) for m in prices.methods)), baseline_s)


def _times_smaller(
    request: Request, models: RunModels, ends: Sequence[Reach], cost: Cost, limits: Limits
) -> list[float]:
    """How many times smaller each end is: by codebooks and zeros, too, where these are chosen for a goal of size."""
    least = smallest_sizes(request, models) if is_to_be_composed(request, limits) else None
    found = []
    for end in ends:
        by_bits = cost.size_bytes / max(end.size_bytes, 1)
        share = end.size_bytes / max(end.pricing.original.size_bytes, 1)
        found.append(by_bits if least is None else least.with_weights(share).times)
    return found


def _check(ends: Sequence[Reach], limits: Limits) -> None:
    """Return only if one of the ends meets the limits."""
    if not any(end.meets(limits) for end in ends):
        max(ends, key=lambda end: end.speedup).check(limits)


def _told(
    request: Request, cost: Cost, said: Sequence[str], ends: Sequence[Reach], core: str, times: Sequence[float]
) -> Outcome:
    speedups = sorted(end.speedup for end in ends)
    sizes = sorted(times)
    shares = sorted((end.macs / max(cost.macs, 1) for end in ends), reverse=True)
    least_s = ends[0].baseline_s / speedups[0]
    lines = (
        plan(request).text(),
        *said,
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
