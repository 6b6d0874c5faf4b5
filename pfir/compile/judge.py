"""Judging a model: latency on the device of the run, cost, accuracy and fidelity; the original and the result alike."""

from __future__ import annotations

from pfir.backends.base import Backend
from pfir.compile.prepare import fixed
from pfir.compile.pricing import Limits, limits_for
from pfir.compile.request import Request
from pfir.compile.samples import Samples
from pfir.devices.base import Device
from pfir.devices.calibrate import calibrated
from pfir.devices.estimate import EstimateDevice
from pfir.ir.cost import model_cost
from pfir.ir.model import Model
from pfir.measurement import Measurement
from pfir.report.record import Side
from pfir.run.evaluate import evaluate
from pfir.target import Target


class Judge:
    """One device, one backend, one target for both sides, so that no two sources are ever compared.

    Args:
        device: An estimator, or what runs and measures libraries.
    """

    def __init__(self, backend: Backend, device: Device, target: Target, request: Request) -> None:
        self._backend, self._device, self._target, self._request = backend, device, target, request
        self._latencies: dict[int, tuple[Model, Measurement]] = {}

    def latency(self, model: Model) -> Measurement:
        """Of one inference; a model that was asked for before is not measured again."""
        known = self._latencies.get(id(model))
        if known is None:
            sized = fixed(model, self._request)
            known = self._latencies[id(model)] = (model, self._latency(sized))
        return known[1]

    def estimator(self, baseline: Model) -> EstimateDevice:
        """What prices candidates: the device if it estimates, else an estimator scaled to the measured baseline."""
        if isinstance(self._device, EstimateDevice):
            return self._device
        kernels = self._backend.kernels(fixed(baseline, self._request), self._target)
        return calibrated(self._target, self.latency(baseline), kernels)

    def limits(self, baseline: Model) -> Limits:
        """The bounds that the goals put on candidates."""
        cost = model_cost(fixed(baseline, self._request))
        return limits_for(self._request.goals, self.latency(baseline).seconds, cost.macs, cost.size_bytes)

    def excess(self, model: Model, baseline: Model) -> float:
        """The model's share of the latency that the goals allow; 0 where they allow any, or nothing is measured."""
        allowed = self.limits(baseline).latency_s
        if allowed is None or isinstance(self._device, EstimateDevice):
            return 0.0
        return self.latency(model).seconds / allowed

    def side(self, model: Model, samples: Samples, original: Model) -> Side:
        """All figures of one side; accuracy only with labels, fidelity to the original."""
        cost = model_cost(fixed(model, self._request))
        scores = evaluate(model, samples.validation, original, self._request.jobs or 1)
        accuracy = None if self._request.metric == "fidelity" else scores.accuracy
        return Side(
            self.latency(model), cost.macs, cost.parameters, cost.size_bytes, cost.peak_activation_bytes,
            accuracy, scores.fidelity,
        )  # fmt: skip

    def _latency(self, sized: Model) -> Measurement:
        if isinstance(self._device, EstimateDevice):
            return self._device.estimate(self._backend.kernels(sized, self._target))
        return self._device.measure(self._backend.build(sized, self._target))
