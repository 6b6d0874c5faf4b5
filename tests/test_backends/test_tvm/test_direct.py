"""Direct convolutions in blocks of channels agree with ONNX Runtime, whatever the blocks; blocks cover all channels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pfir.backends.tvm.kernels.direct.convolution import pack
from pfir.backends.tvm.lowering import convolutions
from pfir.backends.tvm.lowering.lower import written
from pfir.backends.tvm.schedule import candidate_schedules as candidates
from pfir.backends.tvm.schedule.algorithms import habits
from pfir.backends.tvm.schedule.blocks import NHWC, Block, bordered
from pfir.backends.tvm.schedule.direct import covers, direct_plan, direct_plans
from pfir.target import known_targets, parse_target
from pfir.workload import Workload
from tests.support.net import Net
from tests.test_backends.bundle import answers_of_program, bundled, error

SIZES = st.integers(1, 300)
ARM, X86 = parse_target("arm"), parse_target("x86-64:x86-64-v4")


def _conv(shape, out, kernel=(3, 3), group=1, bias=True, **attributes):
    def build(b: Net) -> str:
        weights = [b.w(out, shape[1] // group, *kernel)] + ([b.w(out)] if bias else [])
        return b.op("Conv", b.input(*shape), *weights, group=group, **{"strides": [2, 2]} | attributes)

    return build


def _residual(b: Net) -> str:
    y = _conv((1, 13, 12, 12), 22, pads=[1] * 4)(b)
    x = b.op("Relu", b.op("Conv", b.input(1, 6, 6, 6), b.w(22, 6, 1, 1)))
    return b.op("Clip", b.op("Add", y, x), b.const(np.float32(-1)), b.const(np.float32(2)))


def _prelu(b: Net) -> str:
    return b.op("PRelu", _conv((1, 12, 9, 9), 13, pads=[1] * 4)(b), b.w(13, 1, 1))


def _few(b: Net) -> str:
    """Channels last, with a border above and below alone."""
    x = b.op("Conv", b.input(1, 5, 9, 9), b.w(2, 5, 1, 1))
    return b.op("Conv", x, b.w(9, 2, 3, 3), strides=[2, 2], pads=[1, 0, 1, 0])


CASES = {
    "single channels": _conv((1, 13, 16, 16), 13, pads=[1] * 4),
    "single channels behind several vectors": _conv((1, 26, 28, 28), 26, pads=[1] * 4),
    "an overlapping vector": _conv((1, 9, 15, 13), 19, pads=[1] * 4),
    "a vector wider than all channels": _conv((2, 16, 8, 16), 11),
    "blocks of several widths": _conv((1, 8, 10, 10), 61, bias=False),
    "a wide kernel with uneven pads": _conv((1, 11, 17, 14), 20, (5, 3), pads=[2, 0, 1, 2], strides=[3, 2]),
    "dilated": _conv((1, 12, 16, 16), 14, pads=[2] * 4, strides=[1, 1], dilations=[2, 2]),
    "grouped": _conv((2, 24, 10, 10), 39, group=3, pads=[1] * 4),
    "pointwise": _conv((3, 10, 9, 9), 12, (1, 1)),
    "positions outside the image": _conv((1, 8, 5, 4), 9, (1, 1), pads=[3] * 4, strides=[1, 1]),
    "gaps between positions": _conv((1, 8, 13, 11), 8, (2, 2), strides=[3, 3]),
    "one column": _conv((1, 17, 9, 1), 16, pads=[1] * 4),
    "an image of three channels": _conv((2, 3, 13, 16), 13, pads=[1] * 4),
    "an image of one channel": _conv((1, 1, 20, 10), 9, (10, 4), pads=[4, 1, 5, 1]),
    "four channels in ONNX's order": _conv((1, 4, 8, 9), 10, (5, 5), pads=[2, 2, 1, 0], strides=[1, 2]),
    "two channels side by side": _few,
    "residual": _residual,
    "prelu": _prelu,
}


@pytest.fixture(scope="module", params=((ARM, 0, 1), (X86, 0, 2), (X86, -1, 1)), ids=("arm", "x86", "narrow"))
def results(request):
    """Both answers of each case: the plan of a target's model, of so many threads, on this machine."""
    planned, which, threads = request.param
    model, target = bundled(CASES), replace(parse_target("host"), threads=threads)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates, "direct_plan", lambda _, workload: direct_plans(planned, workload)[which])
        patch.setattr(convolutions, "habits", lambda _: habits(planned) | {"fenced": False})
        program = written(model, target)
    assert sum(calls for (spec, _), calls in program.calls.items() if spec.family == "direct") == len(CASES)
    ours, theirs = answers_of_program(program, model)
    return {name: (ours[f"case{i}"], theirs[f"case{i}"]) for i, name in enumerate(CASES)}


@pytest.mark.parametrize("name", CASES)
def test_the_library_computes_what_onnx_runtime_computes(results, name):
    assert error(*results[name]) < 1e-5


@st.composite
def _convolutions(draw) -> Workload:
    """Convolutions of any sizes, some of which a direct kernel covers."""
    channels, out, sizes = draw(st.integers(1, 9) | SIZES), draw(SIZES), draw(st.tuples(SIZES, SIZES))
    kernel, stride = draw(st.sampled_from((1, 2, 3, 5))), draw(st.integers(1, 3))
    group, order = draw(st.sampled_from((1, 1, 3))), draw(st.sampled_from((NHWC, (0, 1, 2, 3))))
    data = (1, channels * group, *(size * stride for size in sizes))
    return Workload("conv", data, (1, out * group, *sizes), order, (kernel, kernel), (stride, stride), group=group)


@settings(max_examples=80, deadline=None)
@given(target=st.sampled_from(known_targets()), workload=_convolutions())
def test_blocks_cover_all_channels_and_stay_in_registers(target, workload):
    if not covers(target, workload):
        return
    out, side_by_side = workload.out[1] // workload.group, workload.channels
    if bordered(workload.order, workload.channels):
        side_by_side *= workload.kernel[1]
    assert direct_plan(target, workload) == direct_plans(target, workload)[0]
    for plan in direct_plans(target, workload):
        *before, last = (block for block in plan.blocks for _ in range(block.count))
        assert sum(block.channels for block in before) + sum(last.lanes[:-1]) < out
        assert sum(block.channels for block in before) + last.channels >= out
        for block in plan.blocks:
            held = block.copies(block.rows, plan.steps) * len(block.lanes) * block.rows + block.singles * block.rows
            assert held < target.core.vector_registers and block.rows <= workload.out[3]
            assert not block.singles or plan.steps <= side_by_side


def test_the_last_vector_holds_channels_that_the_one_before_it_holds_too():
    weight = np.arange(5 * 2, dtype=np.float32).reshape(5, 2, 1, 1)
    first, last, single = pack(weight, 1, (Block((4,), 0, 1), Block((4,), 0, 1))), [1, 2, 3, 4], [4]
    assert np.array_equal(first.reshape(2, 2, 4), [weight[:4, :, 0, 0].T, weight[last, :, 0, 0].T])
    assert np.array_equal(pack(weight, 1, (Block((4,), 1, 1),))[8:], weight[single].reshape(-1))
    assert not pack(weight, 1, (Block((8,), 0, 1),)).reshape(2, 8)[:, 5:].any()


@pytest.mark.parametrize("channels", (13, 20, 26, 52))
@pytest.mark.parametrize("target", (ARM, X86), ids=("arm", "x86"))
def test_narrow_widths_compute_at_most_a_quarter_more_than_they_need(target, channels):
    workload = Workload("conv", (1, channels, 28, 28), (1, channels, 14, 14), NHWC, (3, 3), (2, 2), pads=(1, 1))
    plan = direct_plan(target, workload)
    assert sum(block.count * block.channels for block in plan.blocks) <= 1.25 * channels
