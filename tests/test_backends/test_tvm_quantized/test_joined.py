"""Convolutions of few channels a group, and transposed ones, sum integers and give what ONNX Runtime gives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pfir.backends.tvm.kernels.integers.packing import joined
from pfir.backends.tvm.lowering.lower import written
from pfir.backends.tvm.schedule.integers.choice import joined as joined_work
from pfir.backends.tvm.schedule.integers.routing import convolved
from pfir.target import parse_target
from pfir.workload import Workload
from tests.support.net import Net
from tests.test_backends.bundle import answers_emulated, answers_of_cases, bundled
from tests.test_backends.test_tvm_quantized.nets import STEP, QuantizedNet

Case = Callable[[Net], str]


def _grouped(channels: int, out: int, inner: int, kernel: int = 3, **attributes) -> Case:
    def build(net: Net) -> str:
        q = QuantizedNet(net)
        x = q.conv(q.features(channels), channels, out, kernel, group=channels // inner, **attributes)
        return q.pair(net.op("Relu", x), point=-128)

    return build


def _transposed(kernel: int, stride: int, pad: int = 0, axis: int | None = None, step: float = 0.04, **attrs) -> Case:
    def build(net: Net) -> str:
        q = QuantizedNet(net)
        weight, bias = q.weight(12, 6, kernel, kernel, axis=axis), q.bias(6, step, axis=axis)
        attributes = {"strides": [stride] * 2, "pads": [pad] * 4} | attrs
        return q.pair(net.op("ConvTranspose", q.features(), weight, bias, **attributes))

    return build


GROUPED: dict[str, Case] = {
    "two": _grouped(12, 12, 2),
    "two, more outputs": _grouped(16, 24, 2, strides=[2, 2]),
    "three": _grouped(12, 24, 3),
    "three, of nine": _grouped(9, 18, 3, kernel=1),
    "single, two outputs": _grouped(12, 24, 1),
    "single, wide": _grouped(8, 16, 1, kernel=5),
}
TRANSPOSED: dict[str, Case] = {
    "twice": _transposed(2, 2),
    "overlapping": _transposed(4, 2, 1),
    "scales of channels": _transposed(4, 2, 1, axis=1),
    "cut": _transposed(3, 2, 1, output_padding=[1, 1]),
    "three times": _transposed(5, 3),
    "other steps": _transposed(2, 2, step=0.017),
}


@pytest.mark.parametrize("cases", [GROUPED, TRANSPOSED], ids=["grouped", "transposed"])
def test_results_are_those_of_onnx_runtime(cases):
    for name, (ours, theirs) in answers_of_cases(cases).items():
        assert np.abs(ours - theirs).max() < 1.01 * STEP, name
        assert np.mean(np.abs(ours - theirs) > 1e-6) < 0.02, name


def test_emulated_arm_gives_the_same():
    cases = {name: (GROUPED | TRANSPOSED)[name] for name in ("two", "single, two outputs", "overlapping")}
    results, theirs = answers_emulated(bundled(cases), "cortex-a76", "cortex-a72")
    for ours in results:
        for name, result in theirs.items():
            assert np.abs(ours[name] - result).max() < 1.01 * STEP


@pytest.mark.parametrize("target", ["neoverse-n1", "cortex-a72", "cortex-a9", "x86-64-v3"])
def test_no_layer_sums_floats(target):
    single = () if target == "neoverse-n1" else ("single, two outputs", "single, wide")
    cases = {name: case for name, case in (GROUPED | TRANSPOSED).items() if name not in single}
    families = {spec.family for spec, _ in written(bundled(cases), parse_target(target)).calls}
    assert families <= {"conv_int8", "affine", "move", "transpose"}


def test_joined_weights_give_the_same_sums():
    rng = np.random.default_rng(0)
    weight, data = rng.integers(-9, 9, (12, 2, 1, 1)), rng.integers(-9, 9, 12)
    apart = [weight[2 * g : 2 * g + 2, :, 0, 0] @ data[2 * g : 2 * g + 2] for g in range(6)]
    for count in (1, 2, 3, 6):
        wide = joined(weight, 6, count)[:, :, 0, 0]
        groups = np.split(wide, 6 // count), np.split(data, 6 // count)
        found = [w @ x for w, x in zip(*groups, strict=True)]
        assert np.concatenate(found).tolist() == np.concatenate(apart).tolist()


def _work(channels: int, out: int, group: int, **given) -> Workload:
    return Workload(
        "conv",
        (1, channels, 8, 8),
        (1, out, 8, 8),
        (0, 2, 3, 1),
        (3, 3),
        pads=(1, 1),
        group=group,
        dtype="int8",
        **given,
    )


def test_groups_are_joined_until_four_inputs_are_multiplied_together():
    target = parse_target("cortex-a76")
    assert joined_work(target, _work(12, 12, 6)).group == 3
    assert joined_work(target, _work(12, 12, 3)).group == 3
    assert joined_work(target, _work(9, 9, 3)).group == 1
    assert joined_work(target, _work(3, 6, 3)).group == 1


def test_single_channels_stay_where_floats_take_less():
    assert joined_work(parse_target("cortex-a76"), _work(12, 24, 12)).group < 12
    assert joined_work(parse_target("cortex-a72"), _work(12, 24, 12)).group == 12
    assert joined_work(parse_target("cortex-a76"), _work(12, 12, 12)).group == 12


def test_a_transposed_convolution_has_as_many_times_the_channels():
    work = Workload(
        "conv", (1, 12, 7, 7), (1, 6, 14, 14), (0, 2, 3, 1), (4, 4), pads=(2, 2), spread=(2, 2), dtype="int8"
    )
    found = convolved(parse_target("cortex-a76"), work)
    assert (found.out, found.kernel, found.spread) == ((1, 24, 7, 7), (2, 2), (1, 1))
    assert convolved(parse_target("cortex-a76"), Workload(**(vars(work) | {"group": 2}))) is None
