"""What the goals need of eight bits, and what they and channels would give alone."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pfir.compile.measuring.evaluator import Evaluator
from pfir.compile.methods.base import ModelCost
from pfir.compile.methods.pricing import Limits
from pfir.compile.precision.kept_layers import kept_layers
from pfir.compile.precision.layers import FLOATS, Precision
from pfir.compile.precision.quantizing import Quantizing
from pfir.compile.precision.sizes import sizes_of
from pfir.compile.precision.split import Prices, cheapest, relaxed, toggled
from pfir.compile.prepare import fixed
from pfir.compile.request import Request
from pfir.compile.run_context import RunContext
from pfir.compile.selection.search_context import SearchContext, sizing_for
from pfir.devices.estimation.estimate import EstimateDevice
from pfir.errors import DataError, FrontendError, Infeasible
from pfir.ir.costs.model_cost import Cost, model_cost
from pfir.ir.model import Model
from pfir.passes.quantization.ranges import LEAST_SAMPLES
from pfir.report.record import Alone
from pfir.run.evaluate import Scores
from pfir.search import project
from pfir.target import INT8

ROUNDING = 1.005
"""A goal counts as met within half a percent, as in the report."""
MOST_RELAXED = 24
"""Layers whose sensitivity is measured where the goals leave room for some in float."""
MOST_STARTS = 4
"""Candidates without eight bits that are tried, to tell what channels alone would lose."""
INTEGERS_ALONE, CHANNELS_ALONE = "int8", "channels"


@dataclass(frozen=True)
class Decision:
    """What layers compute in, decided before any channel is searched.

    Args:
        precision: Of each layer.
        suffices: Whether the goals are met by it without removing a channel.
        alone: What eight bits and channels would give alone.
        notes: What a user should know of it, a sentence each.
        divergence: From the original, of what integers alone make of it, untrained.
    """

    precision: Precision = FLOATS
    suffices: bool = False
    alone: tuple[Alone, ...] = ()
    notes: tuple[str, ...] = ()
    divergence: float = 0.0


IN_FLOATS = Decision()


@dataclass(frozen=True)
class _Tried:
    """What one way gave alone, how far its outputs are from the original's, None where that is not known, and whether
    its file is as small as a goal of size asks."""

    alone: Alone
    divergence: float | None
    is_small: bool = True


@dataclass(frozen=True)
class PrecisionChoice:
    """What a decision rests on.

    Args:
        run: What the run works with.
        evaluator: Judges models, on the device where there is one.
        limits: What the goals allow.
        quantizing: How models are quantized and judged.
        search_context: Channels that may go, priced in floats; None where none may.
    """

    run: RunContext
    evaluator: Evaluator
    limits: Limits
    quantizing: Quantizing
    search_context: SearchContext | None

    def decide(self) -> Decision:
        """What layers compute in: as little as the goals need, where that loses less than channels would.

        Raises:
            Infeasible: Eight bits are asked for, and no layer can have them.
            DataError: They are asked for, and the calibration data is too little.
            FrontendError: They are asked for, and the model's opset has none.
        """
        is_asked = self.run.request.precision == INT8
        prices = self._prices
        if is_asked and not prices.layers:
            raise Infeasible("no layer of this model can compute in eight bits; use --precision float32")
        if not is_asked and len(self.run.samples.calibration) < LEAST_SAMPLES:
            return IN_FLOATS
        try:
            wanted = prices.integers if is_asked else needed(prices, self.limits)
            if not wanted.integers:
                return IN_FLOATS
            integers = self._integers_alone(wanted)
        except (DataError, FrontendError, Infeasible) as error:
            if is_asked:
                raise
            return Decision(notes=(f"No layer computes in eight bits: {error}.",))
        channels = self._channels_alone()
        alone = tuple(tried.alone for tried in (integers, channels) if tried is not None)
        if not is_asked and _is_nearer(channels, integers):
            note = "No layer computes in eight bits: it would lose more than the channels that the goal costs."
            return Decision(alone=alone, notes=(note,))
        if not (integers.is_small and self._suffices(wanted, prices)):
            return Decision(wanted, False, alone, divergence=integers.divergence or 0.0)
        return Decision(wanted if is_asked else self._relaxed(wanted, prices), True, alone)

    @property
    def _prices(self) -> Prices:
        models, evaluator = self.run.models, self.evaluator
        return prices_for(self.run.request, models.start, evaluator, evaluator.estimator(models.baseline))

    def _suffices(self, precision: Precision, prices: Prices) -> bool:
        """Whether the goals but that of size are met without removing a channel, confirmed by the device where there is
        one."""
        rest = replace(self.limits, size_bytes=None)
        if self.limits == Limits() or not self._is_own_choice or not prices.meets(precision, rest):
            return False
        return self.evaluator.excess(self.run.models.start, self.run.models.baseline, precision) <= 1

    @property
    def _is_own_choice(self) -> bool:
        """Whether pfir chooses the channels, too."""
        return self.run.request.passes is None

    def _relaxed(self, precision: Precision, prices: Prices) -> Precision:
        """The precision with those layers in float that the goals leave room for, the most sensitive first.

        Only such layers are looked at as have room alone, those that gain least in eight bits.
        """
        floats, integers = prices.by_kernel(FLOATS), prices.by_kernel(precision)
        layers = [name for name in prices.layers if name not in precision.left_in_float]
        layers.sort(key=lambda name: floats.get(name, 0.0) - integers.get(name, 0.0))
        able = [n for n in layers[:MOST_RELAXED] if prices.meets(toggled(precision, n), self.limits)]
        loss = self.quantizing.sensitivities(self.run.models.start, able)
        order = sorted(loss, key=lambda name: -loss[name])
        found = relaxed(precision, order, lambda tried: prices.meets(tried, self.limits))
        confirmed = self.evaluator.excess(self.run.models.start, self.run.models.baseline, found) <= 1
        return found if found == precision or (confirmed and self._is_small(self._made(found))) else precision

    def _integers_alone(self, precision: Precision) -> _Tried:
        made = self.quantizing.first(self.run.models.start, precision)
        seconds = self.evaluator.latency(made.model)
        cost = model_cost(fixed(made.model, self.run.request))
        tried, is_small = self._tried(INTEGERS_ALONE, seconds.seconds, cost, made.scores), self._is_small(made.model)
        return replace(tried, alone=replace(tried.alone, meets=tried.alone.meets and is_small), is_small=is_small)

    def _made(self, precision: Precision) -> Model:
        return self.quantizing.first(self.run.models.start, precision).model

    def _is_small(self, model: Model) -> bool:
        """Whether the file of a model is as small as a goal of size asks; yes where there is none."""
        request = self.run.request
        return request.goals.size is None or sizes_of(request, model).reach(request.goals.size)

    def _channels_alone(self) -> _Tried | None:
        """The best of a few candidates that meet the goals without eight bits, untrained; what is the most that
        channels can give where they cannot meet them."""
        context = self.search_context
        if context is None or self.limits == Limits() or not self._is_own_choice:
            return None
        pricing = context.pricing.within(self.limits)
        if pricing(pricing.cheapest()) > 1:
            cost = pricing.cost_of(pricing.cheapest())
            return self._tried(CHANNELS_ALONE, cost.latency_s(pricing.device), cost, None)
        starts = pricing.warm_starts()
        some = starts[:: max(1, len(starts) // MOST_STARTS)][:MOST_STARTS]
        built = [project(start, pricing, 1.0, pricing.space(), pricing.snap) for start in some]
        scored = [(context.score.judged(parameters), parameters) for parameters in built]
        scores, parameters = min(scored, key=lambda each: each[0].divergence)
        cost = pricing.cost_of(parameters)
        return self._tried(CHANNELS_ALONE, cost.latency_s(pricing.device), cost, scores)

    def _tried(self, way: str, seconds: float, cost: Cost | ModelCost, scores: Scores | None) -> _Tried:
        baseline, limits = self.run.models.baseline, self.limits
        before = model_cost(fixed(baseline, self.run.request))
        before_s = self.evaluator.original_latency(baseline).seconds
        size_bytes = limits.size_bytes if way == CHANNELS_ALONE else None  # of integers the packed file tells it
        kept = ((limits.latency_s, seconds), (limits.macs, cost.macs), (size_bytes, cost.size_bytes))
        meets = all(limit is None or figure <= limit * ROUNDING for limit, figure in kept)
        size, fidelity = before.size_bytes / max(cost.size_bytes, 1), None if scores is None else scores.fidelity
        alone = Alone(way, before_s / seconds, size, fidelity, meets)
        return _Tried(alone, None if scores is None else scores.divergence)


def prices_for(request: Request, model: Model, evaluator: Evaluator, device: EstimateDevice) -> Prices:
    """What a model takes by precision, but for the layers that a user keeps float."""
    return Prices(model, sizing_for(request, evaluator), device, kept_layers(model, request.keep, request.only))


def needed(prices: Prices, limits: Limits) -> Precision:
    """Floats where they meet the limits, or those are of multiply-accumulates alone, which eight bits leave as they
    are; else what takes least time, all layers in eight bits where the size asks for it."""
    if limits != Limits() and (limits == Limits(macs=limits.macs) or prices.meets(FLOATS, limits)):
        return FLOATS
    found = cheapest(prices) if prices.layers else FLOATS
    size = Limits(size_bytes=limits.size_bytes)
    return found if not prices.layers or prices.meets(found, size) else prices.integers


def _is_nearer(one: _Tried | None, other: _Tried) -> bool:
    """Whether one way is known to stay nearer to the original than another."""
    return one is not None and one.divergence is not None and one.divergence < other.divergence
