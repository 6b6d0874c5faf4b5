from pathlib import Path

import pytest

from pfir.backends import open_backend
from pfir.compile.measuring.evaluator import Evaluator
from pfir.compile.methods.pricing import Limits
from pfir.compile.prepare import fixed
from pfir.compile.request import Goals
from pfir.devices import open_device
from pfir.devices.base import Device
from pfir.measurement import ESTIMATED, MEASURED, Measurement
from pfir.target import parse_target
from tests.support.jobs import request
from tests.test_compile.test_selection.search_context import run_context


class Fixed(Device):
    """Measures the same each time, and counts."""

    name, count = "a device", 0

    def measure(self, artifact):
        self.count += 1
        return Measurement(0.5, MEASURED, self.name, repeats=3)

    def run(self, artifact, inputs):
        raise AssertionError("a judge measures; it runs nothing")


def _judge(model, device=None, **options):
    start = run_context(model, **options)
    evaluator = Evaluator(start.backend, device or open_device(None, start.target), start.target, start.request)
    return evaluator, start.original, start.samples


def test_both_sides_of_one_model_are_the_same(model, data):
    evaluator, original, samples = _judge(model, data=data)
    side = evaluator.side(original.baseline, samples, original.model)
    assert side == evaluator.side(original.baseline, samples, original.model)
    assert (side.accuracy, side.fidelity, side.latency.source) == (1.0, 1.0, ESTIMATED)


def test_accuracy_is_left_out_where_fidelity_is_asked_for(model, data):
    evaluator, original, samples = _judge(model, data=data, metric="fidelity")
    side = evaluator.side(original.baseline, samples, original.model)
    assert side.accuracy is None and side.fidelity == 1.0


def test_a_model_is_measured_once(model):
    device = Fixed()
    evaluator, original, _ = _judge(model, device)
    assert evaluator.latency(original.baseline).seconds == evaluator.latency(original.baseline).seconds == 0.5
    assert device.count == 1


def test_limits_follow_from_the_baseline(model):
    evaluator, original, _ = _judge(model, Fixed(), goals=Goals(speedup=2.0))
    assert evaluator.limits(original.baseline) == Limits(0.25, None, None)


def test_excess_is_told_only_by_a_device_that_measures(model):
    evaluator, original, _ = _judge(model, Fixed(), goals=Goals(speedup=2.0))
    assert evaluator.excess(original.start, original.baseline) == 2.0
    estimating, original, _ = _judge(model)
    assert estimating.excess(original.start, original.baseline) == 0.0


def test_an_estimator_beside_a_device_gives_the_measured_baseline(model):
    evaluator, original, _ = _judge(model, Fixed())
    kernels = open_backend("ort").kernels(fixed(original.baseline, request(model, Path("x"))), parse_target("arm"))
    assert evaluator.estimator(original.baseline).estimate(kernels).seconds == pytest.approx(0.5)
