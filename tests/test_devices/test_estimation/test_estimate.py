"""The estimator: laws that any latency model of a vector machine obeys."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pfir.artifact import Artifact, Kernel
from pfir.devices.estimation.calibrate import calibrated
from pfir.devices.estimation.estimate import EstimateDevice, KernelArrays
from pfir.errors import DeviceError, UsageError
from pfir.ir.costs.families import FAMILIES
from pfir.measurement import Measurement, speedup
from pfir.target import FLOAT16, FLOAT32, parse_target, with_arithmetic

TARGETS = ["arm", "rpi3", "rpi5", "armv7", "arm:cortex-x1,threads=4", "x86-64:x86-64-v4"]
targets = st.sampled_from(TARGETS).map(parse_target)
channels = st.integers(1, 300)


def conv(inputs: int, outputs: int, size: int = 16, kernel: int = 3, family: str = "conv") -> Kernel:
    area, taps = size * size, kernel * kernel
    weights = inputs * outputs * taps
    return Kernel("conv", family, weights * area, 4 * (inputs * area + weights), 4 * outputs * area, outputs, inputs)


def seconds(target, *kernels: Kernel) -> float:
    return EstimateDevice(target).estimate(kernels).seconds


@settings(deadline=None)
@given(targets, channels, channels, st.integers(1, 40), st.sampled_from([1, 3]), st.sampled_from([4, 14, 32]))
def test_more_channels_never_cost_less(target, inputs, outputs, more, kernel, size):
    base = seconds(target, conv(inputs, outputs, size, kernel))
    assert seconds(target, conv(inputs + more, outputs, size, kernel)) >= base * (1 - 1e-9)
    assert seconds(target, conv(inputs, outputs + more, size, kernel)) >= base * (1 - 1e-9)


@settings(deadline=None)
@given(channels, channels, st.sampled_from([1, 3]), st.sampled_from([4, 14, 32]), st.sampled_from(["conv", "conv3x3"]))
def test_float16_costs_between_half_and_all_of_float32(inputs, outputs, kernel, size, family):
    """A load brings more of its values, so that a multiplication may cost a little less than half; tiles of 2x2 save
    less than those of 4x4."""
    net = conv(8 * inputs, 8 * outputs, size, kernel, "conv" if kernel == 1 else family)
    full, half = (seconds(with_arithmetic(parse_target("arm:cortex-a76"), a), net) for a in (FLOAT32, FLOAT16))
    assert full / 2 * 0.95 <= half <= full * 1.05


@settings(deadline=None)
@given(targets, channels, st.integers(1, 60))
def test_whole_vectors_are_never_slower_per_mac_than_the_widths_below_them(target, inputs, vectors):
    whole = vectors * target.lanes
    best = conv(inputs, whole)
    for less in range(1, min(target.lanes, whole)):
        other = conv(inputs, whole - less)
        # Where the bytes cross the size of a cache the wider one may pay up to a percent more for memory.
        assert seconds(target, best) / best.macs <= seconds(target, other) / other.macs * 1.01


@settings(deadline=None)
@given(targets, channels, channels, st.integers(1, 40), st.sampled_from([4, 14, 32]))
def test_the_cheapest_of_three_algorithms_keeps_the_laws(target, inputs, outputs, more, size):
    def cost(i, o, family="conv3x3"):
        return seconds(target, conv(i, o, size, family=family))

    assert cost(inputs, outputs) <= cost(inputs, outputs, "conv")
    assert cost(inputs + more, outputs) >= cost(inputs, outputs) * (1 - 1e-9)
    assert cost(inputs, outputs + more) >= cost(inputs, outputs) * (1 - 1e-9)


def test_transforms_pay_for_wide_layers_more_than_for_narrow_ones():
    target, gains = parse_target("arm"), []
    for width in (64, 16, 4):
        plain, tiled = (seconds(target, conv(width, width, 32, family=family)) for family in ("conv", "conv3x3"))
        gains.append(plain / tiled)
    assert 4 > gains[0] > gains[1] > gains[2] >= 1 and gains[0] > 2


def test_the_transforms_of_resnet_20_save_what_was_counted_on_the_emulated_device():
    # Instructions of ResNet-20 by the TVM backend for `arm`: 15.18 M directly, 6.30 M by Winograd's transforms.
    shapes = [(16, 16, 32)] * 6 + [(32, 32, 16)] * 5 + [(64, 64, 8)] * 5
    rest = [conv(3, 16, 32), conv(16, 32, 16), conv(32, 64, 8)]
    direct, tiled = (
        seconds(parse_target("arm"), *rest, *(conv(*shape, family=family) for shape in shapes))
        for family in ("conv", "conv3x3")
    )
    assert direct / tiled == pytest.approx(15.18 / 6.30, rel=0.15)


def test_within_one_vector_output_channels_of_a_large_convolution_are_free():
    target = parse_target("arm")
    assert seconds(target, conv(64, 61, 32)) == pytest.approx(seconds(target, conv(64, 64, 32)), rel=1e-3)
    assert seconds(target, conv(64, 65, 32)) > 1.1 * seconds(target, conv(64, 64, 32))


def test_halving_both_widths_of_a_large_convolution_is_nearly_four_times_faster():
    target = parse_target("arm")
    assert 3.5 < seconds(target, conv(128, 128)) / seconds(target, conv(64, 64)) < 4.1


def test_depthwise_and_dense_layers_reach_less_of_the_peak():
    target, plain = parse_target("arm"), conv(64, 64)
    for family in ("depthwise", "grouped", "dense"):
        other = Kernel("k", family, plain.macs, plain.read_bytes, plain.written_bytes, 64, 64)
        assert seconds(target, other) > 1.5 * seconds(target, plain)


def test_a_kernel_without_macs_costs_its_bytes():
    target = parse_target("arm")
    small, large = (Kernel("add", "elementwise", 0, n, n) for n in (1 << 20, 1 << 24))
    assert seconds(target, large) > 10 * seconds(target, small)
    assert seconds(target, large) > 2 * (1 << 24) / target.core.bandwidth * 0.9


def test_faster_cores_and_more_threads_cost_less():
    kernel = conv(128, 128)
    order = ["rpi3", "arm", "rpi5", "arm:cortex-x1", "arm:cortex-x1,threads=4"]
    times = [seconds(parse_target(name), kernel) for name in order]
    assert times == sorted(times, reverse=True)


def test_mobilenet_sized_work_on_a_raspberry_pi_4_is_within_the_stated_error_of_what_ncnn_publishes():
    # ncnn's benchmark page: 72 ms for MobileNet v1 (568.7 M MACs), four threads of 1.5 GHz; the net is 94 % 1x1.
    target = parse_target("rpi4,threads=4")
    shapes = [(32, 64, 112), (64, 128, 56), (128, 128, 56), (128, 256, 28), (256, 256, 28), (256, 512, 14)]
    shapes += [(512, 512, 14)] * 5 + [(512, 1024, 7), (1024, 1024, 7)]
    kernels = [conv(i, o, s, 1) for i, o, s in shapes]
    kernels += [Kernel("dw", "depthwise", i * s * s * 9, 4 * i * s * s, 4 * i * s * s, i, 1) for i, _, s in shapes]
    assert abs(seconds(target, *kernels) / 0.072 - 1) < EstimateDevice(target).error


def test_the_sum_of_kernels_is_the_estimate_and_columns_agree_with_records():
    device = EstimateDevice(parse_target("arm"))
    kernels = [conv(3, 16), conv(16, 20), Kernel("pool", "pool", 0, 4096, 1024, 16)]
    columns = device.seconds(KernelArrays.of(kernels))
    assert columns.shape == (3,) and np.all(columns > 0)
    assert device.estimate(kernels).seconds == pytest.approx(columns.sum())
    assert device.estimate(kernels).seconds == pytest.approx(sum(device.estimate([k]).seconds for k in kernels))


@pytest.mark.parametrize("family", [family.name for family in FAMILIES])
def test_every_family_has_a_cost(family):
    assert np.isfinite(seconds(parse_target("arm"), Kernel("k", family, 1000, 400, 400, 8, 8)))
    assert np.isfinite(seconds(parse_target("arm"), Kernel("k", family, 0, 0, 0)))


def test_an_estimate_says_what_it_is():
    found = EstimateDevice(parse_target("arm")).estimate([conv(16, 16)])
    assert (found.source, found.repeats, found.spread, found.threads) == ("estimated", 0, 0.48, 1)
    assert "cortex-a72 at 1.80 GHz" in found.detail and "48%" in found.detail


def test_calibration_meets_the_measured_net_and_scales_the_others():
    target, measured = parse_target("arm"), Measurement(0.5, "measured", "a board", spread=0.01, repeats=30)
    device = calibrated(target, measured, [conv(64, 64)])
    assert device.estimate([conv(64, 64)]).seconds == pytest.approx(0.5)
    assert device.error == 0.20 and "a board" in device.detail
    plain = EstimateDevice(target)
    assert speedup(device.estimate([conv(64, 64)]), device.estimate([conv(32, 32)])) == pytest.approx(
        speedup(plain.estimate([conv(64, 64)]), plain.estimate([conv(32, 32)]))
    )


def test_calibration_refuses_estimates_and_other_threads():
    with pytest.raises(UsageError, match="estimated"):
        calibrated(parse_target("arm"), Measurement(0.5, "estimated", "x"), [conv(8, 8)])
    with pytest.raises(UsageError, match="4 threads"):
        calibrated(parse_target("arm"), Measurement(0.5, "measured", "x", threads=4), [conv(8, 8)])


def test_an_estimator_measures_by_kernels_and_runs_nothing():
    target = parse_target("arm")
    device, made = EstimateDevice(target), Artifact("tvm", target, {}, "", (), (), (conv(8, 8),))
    assert device.measure(made) == device.estimate([conv(8, 8)])
    with pytest.raises(DeviceError, match="estimator"):
        device.run(made, {})
    with pytest.raises(DeviceError, match="no kernels"):
        device.measure(Artifact("tvm", target, {}, "", (), ()))


def test_what_cannot_be_estimated_is_refused():
    device = EstimateDevice(parse_target("arm"))
    with pytest.raises(UsageError, match="nothing to estimate"):
        device.estimate([])
    with pytest.raises(UsageError, match="family 'lstm'"):
        device.estimate([Kernel("k", "lstm", 1, 1, 1)])
    with pytest.raises(UsageError, match="above 0"):
        EstimateDevice(parse_target("arm"), factor=0)
