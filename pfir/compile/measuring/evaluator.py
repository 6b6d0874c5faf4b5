"""Judging a model: latency on the device of the run, cost, accuracy and fidelity; the original and the result alike."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pfir.backends.base import Backend
from pfir.compile.calibration.samples import Samples
from pfir.compile.methods.pricing import Limits, limits_for
from pfir.compile.precision.layers import FLOATS, Precision
from pfir.compile.prepare import fixed
from pfir.compile.request import Request
from pfir.data.base import Dataset
from pfir.devices.base import Device
from pfir.devices.estimation.calibrate import calibrated
from pfir.devices.estimation.estimate import EstimateDevice
from pfir.ir.costs.grouping import Groups
from pfir.ir.costs.model_cost import model_cost
from pfir.ir.model import Model
from pfir.measurement import Measurement
from pfir.report.record import Side
from pfir.run.evaluate import Reference, Scores, evaluate, reference
from pfir.target import FLOAT32, Target

MOST_ANSWER_BYTES = 64 << 20
"""Of the original's outputs on the samples that measure, which both sides are compared with."""


class Evaluator:
    """One device, one backend, one core for both sides, so that no two sources are ever compared.

    The original's latency is that of its library in float32, whatever the result computes in.

    Args:
        device: An estimator, or what runs and measures libraries.
    """

    def __init__(self, backend: Backend, device: Device, target: Target, request: Request) -> None:
        self._backend, self._device, self._target, self._request = backend, device, target, request
        self._latencies: dict[tuple[int, Target, Precision], tuple[Model, Measurement]] = {}
        self._reference: Reference | None = None

    def latency(self, model: Model, precision: Precision = FLOATS) -> Measurement:
        """Of one inference; a model that was asked for before is not measured again.

        Args:
            precision: What the layers of a float model would compute in.
        """
        return self._latency_on(model, self._target, precision)

    def original_latency(self, baseline: Model) -> Measurement:
        """Of one inference of the original, in float32."""
        return self._latency_on(baseline, self._plain)

    @property
    def _plain(self) -> Target:
        return replace(self._target, arithmetic=FLOAT32)

    @property
    def grouping(self) -> Groups:
        """What says which nodes of a model share a kernel."""
        return self._backend.grouping(self._target)

    def estimator(self, baseline: Model) -> EstimateDevice:
        """What prices candidates: the device if it estimates, else an estimator scaled to the measured baseline."""
        if self._device.estimates:
            return self._device
        kernels = self._backend.kernels(fixed(baseline, self._request), self._plain)
        scaled = calibrated(self._backend.estimator(self._plain), self.original_latency(baseline), kernels)
        return self._backend.estimator(self._target).scaled(scaled.factor, scaled.error, scaled.basis)

    def limits(self, baseline: Model) -> Limits:
        """The bounds that the goals put on candidates."""
        cost = model_cost(fixed(baseline, self._request))
        return limits_for(self._request.goals, self.original_latency(baseline).seconds, cost.macs, cost.size_bytes)

    def excess(self, model: Model, baseline: Model, precision: Precision = FLOATS) -> float:
        """The model's share of the latency that the goals allow; 0 where they allow any, or nothing is measured.

        Args:
            precision: As for `latency`.
        """
        allowed = self.limits(baseline).latency_s
        if allowed is None or not self._device.measures:
            return 0.0
        return self.latency(model, precision).seconds / allowed

    def original_side(self, baseline: Model, samples: Samples, original: Model) -> Side:
        """All figures of the side before; accuracy only with labels, fidelity to the original."""
        side = self._side(baseline, samples, original)
        return side(self.original_latency(baseline))

    def side(self, model: Model, samples: Samples, original: Model) -> Side:
        """The same of the side after."""
        side = self._side(model, samples, original)
        return side(self.latency(model))

    def _side(self, model: Model, samples: Samples, original: Model) -> Callable[[Measurement], Side]:
        """A side but for its latency: what cannot run at all is told by running it."""
        cost = model_cost(fixed(model, self._request))
        scores = self._scores(model, samples.validation, original)
        accuracy = None if self._request.metric == "fidelity" else scores.accuracy
        return lambda latency: Side(
            latency,
            cost.macs,
            cost.parameters,
            cost.size_bytes,
            cost.peak_activation_bytes,
            accuracy,
            scores.fidelity,
        )

    def _scores(self, model: Model, data: Dataset, original: Model) -> Scores:
        """Against the original, whose answers are kept for the next side where they are small."""
        threads = self._request.jobs or 1
        if _answer_bytes(original, self._request) * len(data) > MOST_ANSWER_BYTES:
            return evaluate(model, data, original, threads)
        if self._reference is None:
            self._reference = reference(original, data, threads)
        return evaluate(model, data, self._reference, threads)

    def _latency_on(self, model: Model, target: Target, precision: Precision = FLOATS) -> Measurement:
        known = self._latencies.get((id(model), target, precision))
        if known is None:
            found = self._latency(precision.seen(fixed(model, self._request)), target)
            known = self._latencies[id(model), target, precision] = (model, found)
        return known[1]

    def _latency(self, sized: Model, target: Target) -> Measurement:
        if not self._device.estimates:
            return self._device.measure(self._backend.build(sized, target))
        device = self._device if target == self._target else self._backend.estimator(target)
        return device.estimate(self._backend.kernels(sized, target))


def _answer_bytes(model: Model, request: Request) -> float:
    """Bytes of the outputs for one sample."""
    sized = fixed(model, request)
    samples = max((t.shape[0] for t in sized.inputs() if t.shape), default=1)
    return sum(math.prod(t.shape) * np.dtype(t.dtype).itemsize for t in sized.outputs()) / samples
