"""The estimator: laws that any latency model of a vector machine obeys."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pfir.artifact import Artifact, Kernel
from pfir.devices.estimation.calibrate import calibrated
from pfir.devices.estimation.estimate import EstimateDevice
from pfir.errors import DeviceError, UsageError
from pfir.instructions import NOTHING, Instructions
from pfir.ir.costs.families import FAMILIES
from pfir.ir.costs.scalable import ScalableKernels
from pfir.measurement import Measurement, speedup
from pfir.target import FLOAT16, FLOAT32, INT8, parse_target, with_arithmetic
from pfir.workload import Workload
from tests.support.kernels import convolution
from tests.support.net import parsed

TARGETS = ["arm", "rpi3", "rpi5", "armv7", "arm:cortex-x1,threads=4", "x86-64:x86-64-v4"]
targets = st.sampled_from(TARGETS).map(parse_target)
channels = st.integers(1, 300)


def moving(count: int) -> Kernel:
    """A kernel that reads and writes so many values, and multiplies nothing."""
    return Kernel("add", "elementwise", 0, 4 * count, 4 * count, 0, Workload("elementwise", (count,), (count,), (0,)))


def seconds(target, *kernels: Kernel) -> float:
    return EstimateDevice(target).estimate(kernels).seconds


@settings(deadline=None)
@given(targets, channels, channels, st.integers(1, 40), st.sampled_from([1, 3]), st.sampled_from([4, 14, 32]))
def test_more_channels_never_cost_less(target, inputs, outputs, more, kernel, size):
    base = seconds(target, convolution(inputs, outputs, size, kernel))
    assert seconds(target, convolution(inputs + more, outputs, size, kernel)) >= base * (1 - 1e-9)
    assert seconds(target, convolution(inputs, outputs + more, size, kernel)) >= base * (1 - 1e-9)


@settings(deadline=None)
@given(st.integers(6, 60), st.integers(6, 60), st.sampled_from([1, 3]), st.sampled_from([14, 32]))
def test_float16_costs_about_half_of_float32(inputs, outputs, kernel, size):
    """Or less, where half the bytes fit a cache that all of them do not."""
    net, target = convolution(8 * inputs, 8 * outputs, size, kernel), parse_target("arm:cortex-a76")
    full, half = (seconds(with_arithmetic(target, a), net) for a in (FLOAT32, FLOAT16))
    assert full * 0.3 <= half <= full * 0.7


def test_halving_both_widths_of_a_large_convolution_is_nearly_four_times_faster():
    target = parse_target("arm")
    assert 3.5 < seconds(target, convolution(128, 128)) / seconds(target, convolution(64, 64)) < 4.1


def test_what_fits_no_cache_costs_the_memory_too():
    target = parse_target("arm")
    small, large = seconds(target, moving(1 << 14)), seconds(target, moving(1 << 22))
    assert large > 256 * small
    assert large > 8 * (1 << 22) / target.core.bandwidth * 0.9


def test_faster_cores_and_more_threads_cost_less():
    kernel = convolution(128, 128)
    order = ["rpi3", "arm", "rpi5", "arm:cortex-x1", "arm:cortex-x1,threads=4"]
    times = [seconds(parse_target(name), kernel) for name in order]
    assert times == sorted(times, reverse=True)


def test_a_kernel_costs_what_is_counted_and_equal_ones_are_counted_once():
    asked = []

    def count(kernel, target):
        asked.append(kernel)
        return Instructions(multiply=1e6)

    target = parse_target("arm")
    device, kernel = EstimateDevice(target, count), convolution(8, 8)
    found = device.estimate([kernel, convolution(8, 8, name="again")]).seconds
    costs = target.core.costs
    assert found == pytest.approx(2e6 * costs.multiply / target.core.clock_hz)
    assert asked == [kernel]


def test_the_sum_of_kernels_is_the_estimate():
    device = EstimateDevice(parse_target("arm"))
    kernels = [convolution(3, 16), convolution(16, 20), moving(1024)]
    assert device.estimate(kernels).seconds == pytest.approx(sum(map(device.seconds, kernels)))


def test_widths_cost_what_their_kernels_do_also_where_they_were_asked_for_before():
    body = "net (float[1,4,8,8] x) => (float[1,6,6,6] y) { c = Conv(x, weight) y = Relu(c) }"
    model = parsed(body, weight=np.ones((6, 4, 3, 3), np.float32))
    scalable = ScalableKernels(model, {site: (0, {"g": 1}) for site in (("weight", 0), ("c", 1), ("y", 1))})
    device = EstimateDevice(parse_target("arm"))
    for width in (3, 6, 3):
        found = device.estimate_widths(scalable, {"g": width})
        assert found == device.estimate(scalable.at({"g": width}))
    assert pickle.loads(pickle.dumps(device)).estimate_widths(scalable, {"g": 3}) == found
    with pytest.raises(UsageError, match="nothing to estimate"):
        device.estimate_widths(scalable, {"g": 0})
    larger = EstimateDevice(parse_target("arm"), more=lambda kernel, target: 1e6 * kernel.weight_bytes)
    for width in (3, 6, 3):
        waited = larger.estimate_widths(scalable, {"g": width})
        assert waited == larger.estimate(scalable.at({"g": width}))
    assert waited.seconds > found.seconds


@pytest.mark.parametrize("family", [family.name for family in FAMILIES])
def test_every_family_has_a_cost(family):
    work = Workload("conv", (1, 8, 4, 4), (1, 8, 4, 4), (0, 2, 3, 1))
    assert np.isfinite(seconds(parse_target("arm"), Kernel("k", family, 1000, 400, 400, 0, work)))
    assert np.isfinite(seconds(parse_target("arm"), Kernel("k", family, 0, 0, 0, 0, work)))


def test_an_estimate_says_what_it_is():
    target = parse_target("arm")
    found = EstimateDevice(target).estimate([convolution(16, 16)])
    assert (found.source, found.repeats, found.threads) == ("estimated", 0, 1)
    assert f"cortex-a72 at {target.core.clock_hz / 1e9:.2f} GHz" in found.detail
    assert f"expected error {found.spread:.0%}" in found.detail


def test_calibration_meets_the_measured_net_and_scales_the_others():
    plain, measured = EstimateDevice(parse_target("arm")), Measurement(0.5, "measured", "a board", 0.01, repeats=30)
    device = calibrated(plain, measured, [convolution(64, 64)])
    assert device.estimate([convolution(64, 64)]).seconds == pytest.approx(0.5)
    assert "a board" in device.detail
    assert speedup(*(device.estimate([convolution(n, n)]) for n in (64, 32))) == pytest.approx(
        speedup(*(plain.estimate([convolution(n, n)]) for n in (64, 32)))
    )


def test_calibration_refuses_estimates_and_other_threads():
    plain = EstimateDevice(parse_target("arm"))
    with pytest.raises(UsageError, match="estimated"):
        calibrated(plain, Measurement(0.5, "estimated", "x"), [convolution(8, 8)])
    with pytest.raises(UsageError, match="4 threads"):
        calibrated(plain, Measurement(0.5, "measured", "x", threads=4), [convolution(8, 8)])


def test_an_estimator_measures_by_kernels_and_runs_nothing():
    target = parse_target("arm")
    device, made = EstimateDevice(target), Artifact("tvm", target, {}, "", (), (), (convolution(8, 8),))
    assert device.measure(made) == device.estimate([convolution(8, 8)])
    with pytest.raises(DeviceError, match="estimator"):
        device.run(made, {})
    with pytest.raises(DeviceError, match="no kernels"):
        device.measure(Artifact("tvm", target, {}, "", (), ()))


def test_what_cannot_be_estimated_is_refused():
    device = EstimateDevice(parse_target("arm"))
    with pytest.raises(UsageError, match="nothing to estimate"):
        device.estimate([])
    with pytest.raises(UsageError, match="above 0"):
        EstimateDevice(parse_target("arm"), factor=0)


def _of_integers(kernel):
    return replace(kernel, workload=replace(kernel.workload, dtype=INT8))


def test_an_estimate_of_integers_errs_by_what_integers_do():
    device, kernel = EstimateDevice(parse_target("arm")), convolution(16, 16)
    errors = device.target.core.errors
    found = device.estimate([kernel, _of_integers(kernel)])
    assert found.spread == max(errors.float32, errors.int8) and f"expected error {found.spread:.0%}" in found.detail
    assert device.scaled(1.0, 0.03, "a board").estimate([_of_integers(kernel)]).spread == 0.03


def test_bytes_of_integers_are_as_many_beside_float16():
    kernel = convolution(512, 512)
    half, single = (
        EstimateDevice(with_arithmetic(parse_target("cortex-a76"), a), lambda *_: NOTHING) for a in (FLOAT16, FLOAT32)
    )
    whole = _of_integers(kernel)
    assert half.estimate([whole, whole]).seconds == single.estimate([whole, whole]).seconds
    assert half.estimate([kernel, kernel]).seconds < single.estimate([kernel, kernel]).seconds


def test_estimates_of_one_core_are_compared_whatever_the_arithmetic():
    kernel = [convolution(64, 64)]
    targets = [with_arithmetic(parse_target("cortex-a76"), arithmetic) for arithmetic in (FLOAT32, FLOAT16)]
    before, after = (EstimateDevice(target).estimate(kernel) for target in targets)
    assert speedup(before, after) > 1
    with pytest.raises(UsageError, match="cannot be compared"):
        speedup(before, EstimateDevice(parse_target("cortex-a72")).estimate(kernel))
