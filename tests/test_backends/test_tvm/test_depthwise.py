"""Depthwise convolutions that read the image where it lies agree with ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest

from pfir.backends.tvm.kernels.depthwise import pack
from pfir.backends.tvm.lowering.lower import written
from pfir.backends.tvm.schedule.tile_kinds import DepthwiseTile
from pfir.target import parse_target
from tests.support.net import Net
from tests.test_backends.bundle import answers, answers_emulated, error, sized, under_construction


def _depthwise(shape, kernel=(3, 3), pads=(1, 1, 1, 1), **attributes):
    """A depthwise convolution behind a pointwise one, which brings the channels to the end."""

    def build(b: Net) -> str:
        channels = shape[1]
        x = b.op("Conv", b.input(*shape), b.w(channels, channels, 1, 1))
        return b.op("Conv", x, b.w(channels, 1, *kernel), b.w(channels), group=channels, pads=pads, **attributes)

    return build


def _residual(b: Net) -> str:
    x = b.op("Conv", b.input(2, 20, 11, 10), b.w(20, 20, 1, 1))
    y = b.op("Conv", x, b.w(20, 1, 3, 3), b.w(20), group=20, pads=[1, 1, 1, 1])
    return b.op("Clip", b.op("Add", y, x), b.const(np.float32(0)), b.const(np.float32(6)))


def _read_twice(b: Net) -> str:
    x = b.op("Conv", b.input(2, 20, 14, 19), b.w(20, 20, 1, 1))
    y = b.op("Conv", x, b.w(20, 1, 3, 3), b.w(20), group=20, pads=[0, 0, 1, 1], strides=[2, 2])
    return b.op("HardSwish", b.op("Add", y, b.op("Relu", y)))


CASES = {
    "wide": _depthwise((1, 32, 12, 29)),
    "odd channels, strided": _depthwise((1, 23, 9, 10), strides=[2, 2]),
    "fewer channels than a vector": _depthwise((1, 6, 7, 20)),
    "one row": _depthwise((1, 16, 1, 40)),
    "5x5": _depthwise((1, 35, 9, 21), (5, 5), (2, 2, 2, 2)),
    "5x5 on a smaller image": _depthwise((1, 18, 3, 3), (5, 5), (2, 2, 2, 2)),
    "5x5 strided": _depthwise((2, 6, 15, 22), (5, 5), (2, 2, 2, 2), strides=[2, 2]),
    "no pads": _depthwise((1, 8, 9, 9), pads=(0, 0, 0, 0)),
    "uneven kernel, strides and pads": _depthwise((1, 12, 14, 13), (3, 2), (0, 1, 2, 0), strides=[1, 3]),
    "5x3, dilated": _depthwise((2, 17, 14, 12), (5, 3), (4, 0, 3, 2), dilations=[2, 1]),
    "the whole image": _depthwise((2, 9, 3, 3)),
    "the whole image, strided": _depthwise((1, 16, 6, 6), pads=(0, 0, 1, 1), strides=[2, 2]),
    "the border cuts every tile": _depthwise((1, 8, 7, 6), pads=(3, 3, 3, 3), dilations=[3, 3]),
    "7x7": _depthwise((1, 8, 6, 9), (7, 7), (3, 3, 3, 3)),
    "wide pads": _depthwise((1, 9, 5, 6), pads=(3, 4, 4, 3)),
    "residual": _residual,
    "a step that reads twice": _read_twice,
}


def _bundle():
    bundle = under_construction()
    for i, case in enumerate(CASES.values()):
        bundle.output(f"case{i}", case(bundle))
    return sized(bundle)


@pytest.fixture(scope="module")
def results():
    ours, theirs = answers(_bundle())
    return {name: (ours[f"case{i}"], theirs[f"case{i}"]) for i, name in enumerate(CASES)}


@pytest.mark.parametrize("name", CASES)
def test_the_library_computes_what_onnx_runtime_computes(results, name):
    assert error(*results[name]) < 1e-5


def test_on_arm_columns_are_reached_by_numbers_and_by_registers():
    found, theirs = answers_emulated(_bundle(), "arm", "cortex-a55")
    assert all(error(ours[name], theirs[name]) < 1e-5 for ours in found for name in theirs)


@pytest.mark.parametrize("target", ("x86-64:x86-64-v3", "x86-64:x86-64-v4", "arm", "armv7"))
def test_no_bordered_copy_is_made(target):
    program = written(_bundle(), parse_target(target))
    families = [spec.family for spec, _ in program.kernels]
    assert families.count("depthwise") + families.count("across") == len(CASES) and "window" not in families


def test_weights_lie_along_the_channels_and_the_last_block_ends_with_the_last_channel():
    weight = np.arange(10 * 3 * 4, dtype=np.float32).reshape(10, 1, 3, 4)
    packed = pack(weight, DepthwiseTile(4, 8))
    assert np.array_equal(packed[:, 1, 2], weight[[[0, 1, 2, 3], [4, 5, 6, 7], [6, 7, 8, 9]], 0, 1, 2])
