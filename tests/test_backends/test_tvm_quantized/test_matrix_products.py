"""Integer convolutions by Arm's matrix products of eight bytes."""

from __future__ import annotations

import numpy as np
import pytest

from pfir.backends.tvm.counts.integers.dot_blocks import conv_int8
from pfir.backends.tvm.kernels.axis import Axis
from pfir.backends.tvm.kernels.integers.groups import cut, values_of
from pfir.backends.tvm.lowering.lower import written
from pfir.backends.tvm.schedule.integers.dot_blocks import MATRIX_VALUES, SMMLA
from pfir.backends.tvm.schedule.integers.dot_choice import priced_dots
from pfir.target import parse_target
from pfir.workload import Tail, Workload
from tests.test_backends.bundle import answers_emulated, bundled
from tests.test_backends.test_tvm_quantized.nets import STEP, QuantizedNet

_TARGET = "neoverse-n2"
# Channels, outputs, kernel, and attributes.
_LAYERS = (
    (16, 16, 3, {}),
    (13, 27, 3, {"strides": [2, 2]}),
    (40, 13, 1, {}),
    (24, 12, 3, {"group": 2}),
    (8, 16, 5, {"dilations": [2, 2], "pads": [4, 4, 4, 4]}),
    (20, 3, 1, {}),
)


def _layer(channels: int, out: int, kernel: int, attributes: dict):
    def build(net):
        q = QuantizedNet(net)
        return q.pair(q.conv(q.features(channels), channels, out, kernel, **attributes))

    return build


def _model():
    return bundled({str(i): _layer(*layer) for i, layer in enumerate(_LAYERS)})


def _work(channels: int, out: int, size: int, kernel: int) -> Workload:
    data, result = (1, channels, size, size), (1, out, size, size)
    pads = (kernel // 2, kernel // 2)
    return Workload("conv", data, result, (0, 2, 3, 1), (kernel, kernel), pads=pads, dtype="int8")


def test_emulated_results_are_those_of_onnx_runtime():
    (ours,), theirs = answers_emulated(_model(), _TARGET)
    for name, result in theirs.items():
        assert np.abs(ours[name] - result).max() < 1.01 * STEP


def test_cores_that_have_them_use_them():
    for target, used in ((_TARGET, True), ("cortex-a76", False)):
        calls = written(_model(), parse_target(target)).calls
        dots = {dict(spec.attributes)["dot"] for spec, _ in calls if spec.family == "conv_int8"}
        assert (SMMLA in dots) == used


@pytest.mark.parametrize("length", range(8, 40))
def test_groups_of_eight_hold_each_value_once(length):
    values = [value for group in values_of(length, MATRIX_VALUES) for value in group if value >= 0]
    assert sorted(values) == list(range(length))
    assert len(values_of(length, MATRIX_VALUES)) == cut(length, MATRIX_VALUES).count


@pytest.mark.parametrize("out", range(1, 30))
@pytest.mark.parametrize("most", (2, 4, 8))
def test_tiles_of_pairs_cover_a_row(out, most):
    tiles = list(Axis(out, out, 1, 1, 1, 0).balanced(most, 2))
    assert [x for tile in tiles for x in tile] == list(range(out))
    assert max(map(len, tiles)) <= most
    assert sum(len(tile) % 2 for tile in tiles) == out % 2


# Channels, outputs, size, kernel: instructions for each multiply-accumulate, as the emulator counted them.
_COUNTED = {
    (16, 16, 32, 3): 0.0615,
    (64, 64, 8, 3): 0.0498,
    (13, 27, 16, 3): 0.0884,
    (8, 16, 16, 5): 0.0563,
    (20, 33, 10, 3): 0.0804,
}


@pytest.mark.parametrize("work", _COUNTED)
def test_instructions_are_those_that_the_emulator_counted(work):
    target, workload = parse_target(_TARGET), _work(*work)
    (_, plan), *_ = priced_dots(target, workload)
    found = conv_int8(target, workload, Tail(bias=True, operators=("QuantizeLinear",)), plan)
    assert plan.dot == SMMLA
    assert found.total / workload.macs == pytest.approx(_COUNTED[work], rel=0.07)
