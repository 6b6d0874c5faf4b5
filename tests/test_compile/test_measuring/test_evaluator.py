from pathlib import Path

import pytest

from pfir.backends import open_backend
from pfir.backends.tvm import TvmBackend
from pfir.compile.measuring.evaluator import Evaluator
from pfir.compile.methods.pricing import Limits
from pfir.compile.precision.layers import FLOATS, INTEGERS
from pfir.compile.prepare import fixed
from pfir.compile.request import Goals
from pfir.devices import open_device
from pfir.devices.base import Device
from pfir.measurement import ESTIMATED, MEASURED, Measurement, speedup
from pfir.target import FLOAT16, parse_target, with_arithmetic
from tests.support.jobs import request
from tests.test_compile.test_selection.search_context import run_context


class Fixed(Device):
    """Measures the same each time, and counts."""

    name, count = "a device", 0

    def measure(self, artifact):
        self.count += 1
        return Measurement(0.5, MEASURED, self.name, repeats=3)

    def run(self, artifact, inputs):
        raise AssertionError("an evaluator measures; it runs nothing")


def _evaluator(model, device=None, **options):
    start = run_context(model, **options)
    evaluator = Evaluator(start.backend, device or open_device(None, start.target), start.target, start.request)
    return evaluator, start.models, start.samples


def test_both_sides_of_one_model_are_the_same(model, data):
    evaluator, models, samples = _evaluator(model, data=data)
    side = evaluator.side(models.baseline, samples, models.original)
    assert side == evaluator.side(models.baseline, samples, models.original)
    assert (side.accuracy, side.fidelity, side.latency.source) == (1.0, 1.0, ESTIMATED)


def test_accuracy_is_left_out_where_fidelity_is_asked_for(model, data):
    evaluator, models, samples = _evaluator(model, data=data, metric="fidelity")
    side = evaluator.side(models.baseline, samples, models.original)
    assert side.accuracy is None and side.fidelity == 1.0


def test_a_model_is_measured_once(model):
    device = Fixed()
    evaluator, models, _ = _evaluator(model, device)
    assert evaluator.latency(models.baseline).seconds == evaluator.latency(models.baseline).seconds == 0.5
    assert device.count == 1


def test_limits_follow_from_the_baseline(model):
    evaluator, models, _ = _evaluator(model, Fixed(), goals=Goals(speedup=2.0))
    assert evaluator.limits(models.baseline) == Limits(0.25, None, None)


def test_excess_is_told_only_by_a_device_that_measures(model):
    evaluator, models, _ = _evaluator(model, Fixed(), goals=Goals(speedup=2.0))
    assert evaluator.excess(models.start, models.baseline) == 2.0
    estimating, original, _ = _evaluator(model)
    assert estimating.excess(models.start, models.baseline) == 0.0


def test_an_estimator_beside_a_device_gives_the_measured_baseline(model):
    evaluator, models, _ = _evaluator(model, Fixed())
    kernels = open_backend("ort").kernels(fixed(models.baseline, request(model, Path("x"))), parse_target("arm"))
    assert evaluator.estimator(models.baseline).estimate(kernels).seconds == pytest.approx(0.5)


def test_the_original_is_judged_in_float32_whatever_the_result_computes_in(model):
    options = {"backend": "tvm", "target": "arm:cortex-a76"}
    single, same, _ = _evaluator(model, TvmBackend().estimator(parse_target(options["target"])), **options)
    half_target = with_arithmetic(parse_target(options["target"]), FLOAT16)
    half, models, samples = _evaluator(model, TvmBackend().estimator(half_target), precision="float16", **options)
    before = half.original_side(models.baseline, samples, models.original).latency
    assert before.seconds == single.latency(same.baseline).seconds > half.latency(models.baseline).seconds
    assert speedup(before, half.latency(models.baseline)) > 1


def test_a_float_model_can_be_judged_as_it_will_be_quantized(model):
    evaluator, models, _ = _evaluator(model, backend="tvm", target="arm:cortex-a76")
    whole, ints = (evaluator.latency(models.baseline, precision).seconds for precision in (FLOATS, INTEGERS))
    assert whole != ints
