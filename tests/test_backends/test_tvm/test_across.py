"""Depthwise convolutions whose vectors run on across columns agree with ONNX Runtime; only those that gain do."""

from __future__ import annotations

import numpy as np
import pytest

from pfir.backends.tvm.families import candidates
from pfir.backends.tvm.kernels.across import pack
from pfir.backends.tvm.lowering.lower import written
from pfir.backends.tvm.schedule.crossing import across_tile
from pfir.backends.tvm.schedule.tile_kinds import AcrossTile
from pfir.target import parse_target
from pfir.workload import Workload
from tests.support.net import Net
from tests.test_backends.bundle import answers_of_cases, bundled, error


def _depthwise(shape, kernel=(3, 3), pads=(1, 1, 1, 1), bias=True):
    """A depthwise convolution behind a pointwise one, which brings the channels to the end."""

    def build(b: Net) -> str:
        channels = shape[1]
        x = b.op("Conv", b.input(*shape), b.w(channels, channels, 1, 1))
        addend = (b.w(channels),) if bias else ()
        return b.op("Relu", b.op("Conv", x, b.w(channels, 1, *kernel), *addend, group=channels, pads=pads))

    return build


CROSSING = {
    "13 channels": _depthwise((1, 13, 12, 11)),
    "fewer channels than a vector": _depthwise((1, 5, 7, 20)),
    "two images": _depthwise((2, 9, 8, 8)),
    "several strips down, the last of which overlaps": _depthwise((1, 6, 31, 6)),
    "no bias, no pads": _depthwise((1, 13, 8, 9), pads=(0, 0, 0, 0), bias=False),
    "pads of one side": _depthwise((1, 13, 10, 7), pads=(2, 0, 0, 2)),
    "pads wider than the kernel": _depthwise((1, 9, 35, 6), pads=(3, 4, 4, 3)),
    "2x3": _depthwise((1, 13, 14, 12), (2, 3), (1, 1, 0, 1)),
    "one column": _depthwise((1, 13, 8, 1)),
}


def _steps_by_channel(b: Net) -> str:
    return b.op("PRelu", _depthwise((1, 13, 8, 9))(b), b.w(13, 1, 1))


def _residual(b: Net) -> str:
    x = b.op("Conv", b.input(1, 13, 8, 9), b.w(13, 13, 1, 1))
    return b.op("Add", x, b.op("Conv", x, b.w(13, 1, 3, 3), group=13, pads=[1, 1, 1, 1]))


OTHERS = {
    "what follows reads by channel": _steps_by_channel,
    "what follows reads another tensor": _residual,
    "whole vectors": _depthwise((1, 16, 8, 9)),
    "few rows": _depthwise((1, 13, 5, 9)),
}
CASES = CROSSING | OTHERS


@pytest.fixture(scope="module", params=("host", "host,threads=2"))
def results(request):
    return answers_of_cases(CASES, request.param)


@pytest.mark.parametrize("name", CASES)
def test_the_library_computes_what_onnx_runtime_computes(results, name):
    assert error(*results[name]) < 1e-5


@pytest.mark.parametrize("target", ("x86-64:x86-64-v3", "x86-64:x86-64-v4", "arm", "cortex-a53"))
def test_vectors_run_on_where_lanes_would_be_wasted_and_nothing_else_is_read(target):
    families = [spec.family for spec, _ in written(bundled(CASES), parse_target(target)).kernels]
    assert (families.count("across"), families.count("depthwise")) == (len(CROSSING), len(OTHERS))


def _work(channels: int, kernel: int = 3, **other) -> Workload:
    sizes = (1, channels, 28, 28)
    return Workload("depthwise", sizes, sizes, (0, 2, 3, 1), (kernel, kernel), group=channels, **other)


@pytest.mark.parametrize(
    "workload",
    [
        _work(13, strides=(2, 2)),
        _work(13, dilations=(1, 2)),
        _work(16),
        _work(3),
        _work(13, 7),
        _work(13, after="reads+computes"),
    ],
)
def test_steps_over_columns_whole_vectors_and_too_many_weights_do_not_run_on(workload):
    assert all(across_tile(parse_target(target), workload) is None for target in ("x86-64:x86-64-v4", "arm", "armv7"))


def test_a_width_of_three_halves_of_a_vector_takes_halves():
    wide, narrow = parse_target("x86-64:x86-64-v4"), parse_target("x86-64:x86-64-v3")
    assert across_tile(wide, _work(24)) is None and across_tile(wide, _work(40)) is not None
    assert across_tile(narrow, _work(12)) is not None


def test_no_strip_has_more_rows_than_its_cache_holds_and_other_ways_are_there_to_measure():
    target = parse_target("x86-64:x86-64-v4,threads=2")
    assert across_tile(target, _work(13)) == AcrossTile(16, 1, 14, 2)
    first, second, *_ = candidates(target, _work(13))
    assert str(first) == "tile 1 x 16 lanes x 14 across columns, 1 steps" and not isinstance(second, AcrossTile)


def test_weights_go_round_the_channels_with_the_bias_behind_them():
    weight = np.arange(5 * 6, dtype=np.float32).reshape(5, 1, 2, 3)
    packed = pack(weight, np.arange(5, dtype=np.float32), AcrossTile(4, 1, 8))
    assert packed.shape == (7, 8)
    assert np.array_equal(packed[:, 4:8], packed[:, [4, 0, 1, 2]]) and np.array_equal(packed[6, :5], np.arange(5))
    assert np.array_equal(packed[4, :5], weight[:, 0, 1, 1]) and not pack(weight, None, AcrossTile(4, 1, 8))[6].any()
