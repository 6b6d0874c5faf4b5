"""Depthwise layers of integers have a kernel of their own, which gives what ONNX Runtime gives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pfir.backends.tvm.lowering.lower import written
from pfir.target import parse_target
from tests.support.net import Net
from tests.test_backends.bundle import answers_emulated, answers_of_cases, bundled
from tests.test_backends.test_tvm_quantized.nets import STEP, QuantizedNet


def _depthwise(channels: int, size: tuple[int, int], kernel: tuple[int, int], **attributes) -> Callable[[Net], str]:
    def build(net: Net) -> str:
        q = QuantizedNet(net)
        x = q.features(channels, *size)
        y = net.op("Conv", x, q.weight(channels, 1, *kernel), q.bias(channels), group=channels, **attributes)
        return q.pair(y)

    return build


CASES = {
    "3x3": _depthwise(13, (9, 10), (3, 3), pads=[1, 1, 1, 1]),
    "3x3, strided": _depthwise(24, (8, 11), (3, 3), pads=[0, 0, 1, 1], strides=[2, 2]),
    "5x5": _depthwise(20, (7, 9), (5, 5), pads=[2, 2, 2, 2]),
    "5x5 on a small image": _depthwise(8, (2, 2), (5, 5), pads=[2, 2, 2, 2]),
    "7x7, strided": _depthwise(8, (9, 9), (7, 7), pads=[3, 3, 3, 3], strides=[2, 2]),
    "dilated": _depthwise(8, (9, 9), (3, 2), pads=[2, 1, 2, 2], dilations=[2, 3]),
    "no pads": _depthwise(4, (6, 7), (3, 3)),
    "pads wider than the kernel": _depthwise(5, (4, 5), (3, 3), pads=[3, 4, 4, 3]),
    "a row of taps": _depthwise(12, (1, 23), (1, 5), pads=[0, 2, 0, 2]),
    "a column of taps": _depthwise(10, (12, 3), (5, 1), pads=[2, 0, 2, 0]),
}


@pytest.fixture(scope="module")
def results():
    return answers_of_cases(CASES)


@pytest.mark.parametrize("name", CASES)
def test_the_library_computes_what_onnx_runtime_computes(results, name):
    ours, theirs = results[name]
    assert theirs.std() > 0.1 * STEP and np.abs(ours - theirs).max() < 1.01 * STEP


@pytest.mark.parametrize("target", ["arm", "cortex-a76", "armv7", "x86-64:x86-64-v3"])
def test_arm_has_the_kernel_whatever_the_core_x86_only_with_dot_products(target):
    program = written(bundled({"3x3": CASES["3x3"]}), parse_target(target))
    kernels = [spec for spec, _ in program.calls if spec.family == "depthwise_int8"]
    assert len(kernels) == (0 if "x86" in target else 1)
    assert all(spec["dot"] == ("sdot" if target == "cortex-a76" else "") for spec in kernels)


def test_weights_of_which_two_products_need_more_than_16_bits_are_taken_only_by_dot_products():
    def build(net: Net) -> str:
        q = QuantizedNet(net)
        weight = net.op("DequantizeLinear", net.const(np.full((8, 1, 3, 3), -128), np.int8), net.const(np.float32(1)))
        return q.pair(net.op("Conv", q.features(8), weight, group=8))

    families = {
        target: {spec.family for spec, _ in written(bundled({"": build}), parse_target(target)).calls}
        for target in ("arm", "cortex-a76")
    }
    assert "depthwise_int8" in families["cortex-a76"] and "depthwise_int8" not in families["arm"]


def test_emulated_arm_gives_the_same():
    both, theirs = answers_emulated(bundled(CASES), "arm", "cortex-a76")
    for ours in both:
        for name, result in theirs.items():
            assert np.abs(ours[name] - result).max() < 1.01 * STEP
