"""Integer convolutions by pairs of products agree with ONNX Runtime, however they are shared out; blocks cover all
channels."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.kernels.armv7 import functions
from benchmarks.kernels.instructions import assembly
from pfir.backends.tvm.backend import TvmBackend
from pfir.backends.tvm.counts.integers.pair_blocks import conv_pairs
from pfir.backends.tvm.kernels.integers.packing import pack
from pfir.backends.tvm.kernels.integers.pairs.packing import pack_pairs, steps_of
from pfir.backends.tvm.lowering.lower import written
from pfir.backends.tvm.schedule import candidate_schedules as candidates
from pfir.backends.tvm.schedule.blocks import NHWC, Block
from pfir.backends.tvm.schedule.integers.choice import covers
from pfir.backends.tvm.schedule.integers.dot_blocks import dot_of
from pfir.backends.tvm.schedule.integers.pair_blocks import PAIR_VECTORS, SMULL, SMULL_4, PairBlocks, pairs_of
from pfir.backends.tvm.schedule.integers.pair_choice import priced_pairs
from pfir.ir.costs.chains import INPUTS, WIDE
from pfir.system.host_cpu import host_triple
from pfir.target import known_targets, parse_target
from pfir.workload import Tail, Workload
from tests.test_backends.bundle import answers_emulated, answers_of_cases, bundled, chosen_by
from tests.test_backends.test_tvm_quantized.nets import STEP, QuantizedNet, convolution

SIZES = st.integers(1, 200)
FEW = 4  # channels that are copied first


def _image(net):
    q = QuantizedNet(net)
    return q.pair(q.conv(q.image(2, 3, 12, 15), 3, 13, step=0.03, strides=[2, 2]))


def _plane(net, **attributes):
    q = QuantizedNet(net)
    return q.pair(q.conv(q.image(2, 1, 11, 9), 1, 12, step=0.03, kernel=5, **attributes))


def _dense(net):
    q = QuantizedNet(net)
    return q.pair(net.op("Gemm", q.image(1, 50), q.weight(50, 11, axis=1), q.bias(11, 0.03)))


def _fullest(net):
    """Chains of weights as long as 16 bits hold, and data nearly all of which is at its bounds."""
    q, weight = QuantizedNet(net), net.rng.choice([-1, 1], (8, 1, 1, 1)) * np.ones((8, 64, 1, 1), np.int64) * 64
    weight[:, 24:32] -= np.sign(weight[:, 24:32])
    weight[:, 56:] -= np.sign(weight[:, 56:])
    scale, zero = net.const(np.full(8, 0.001, np.float32)), net.const(np.zeros(8), np.int8)
    weight = net.op("DequantizeLinear", net.const(weight, np.int8), scale, zero, axis=0)
    return q.pair(net.op("Conv", q.pair(net.input(1, 64, 3, 5), 0.01, 0), weight))


CASES = {
    "an image of three channels": _image,
    "a plane, under each row of the kernel one run": _plane,
    "a plane under a dilated kernel": partial(_plane, dilations=[2, 2]),
    "whole groups": convolution(32, 16),
    "no whole groups": convolution(27, 40, strides=[2, 2]),
    "few channels": convolution(13, 5, height=3, width=3, kernel=5),
    "pointwise": convolution(24, 12, kernel=1),
    "dilated and grouped": convolution(32, 24, group=2, dilations=[2, 2], pads=[2] * 4),
    "dense": _dense,
    "many inputs": convolution(104, 12, kernel=1),
    "as much as 16 bits hold": _fullest,
}
PLANS = (
    ("x86-64", 2, (4,), 3),
    ("x86-64", 8, (8, 4), 2),
    ("x86-64:x86-64-v3", 4, (16,), 2),
    ("x86-64:x86-64-v3", 16, (4,), 2),
)


def _fits(text: str) -> bool:
    """Whether this machine runs what is built for the target."""
    here, there = parse_target("host"), parse_target(text)
    return host_triple().startswith("x86") and here.core.vector_bytes >= there.core.vector_bytes


def _forced(together: int, lanes: tuple[int, ...], rows: int, dot: str | None = None):
    """Plans of such tiles, of so many inputs together where there are as many; of other products where `dot` needs
    more inputs."""

    def plan(target, workload):
        if dot is not None and workload.channels >= INPUTS:
            count = -(-(workload.out[1] // workload.group) // sum(lanes))
            return PairBlocks((Block(lanes, 0, rows, count),), dot, together)
        return usual(target, workload)

    def usual(target, workload):
        enough, dot = workload.channels if workload.channels >= FEW else together, pairs_of(target)
        most = min(together, enough, 2 * PAIR_VECTORS[dot].lanes[0])
        count = -(-(workload.out[1] // workload.group) // sum(lanes))
        return PairBlocks((Block(lanes, 0, rows, count),), dot, max(size for size in (2, 4, 8, 16) if size <= most))

    return plan


@pytest.fixture(scope="module", params=PLANS, ids=[f"{text} by {size}" for text, size, _, _ in PLANS])
def results(request):
    """Both answers of each case on this machine."""
    text, *how = request.param
    if not _fits(text):
        pytest.skip(f"this machine runs no code for {text}")
    with chosen_by(candidates, "integer_plan", _forced(*how)):
        return answers_of_cases(CASES, text)


@pytest.mark.parametrize("name", CASES)
def test_the_library_computes_what_onnx_runtime_computes(results, name):
    ours, theirs = results[name]
    assert theirs.std() > STEP and np.abs(ours - theirs).max() < 1.01 * STEP


@pytest.mark.parametrize(
    "how", [(8, (4,), 4), (2, (16, 8), 2), (8, (4,), 3, SMULL_4)], ids=["by 8", "by 2", "four in 16 bits"]
)
def test_emulated_arm_without_dot_products_gives_the_same(how):
    with chosen_by(candidates, "integer_plan", _forced(*how)):
        (ours,), theirs = answers_emulated(bundled(CASES), "rpi4")
    for name, result in theirs.items():
        assert np.abs(ours[name] - result).max() < 1.01 * STEP


def test_code_for_armv7_multiplies_bytes_in_vectors():
    code = functions(assembly(written(bundled({"one": CASES["no whole groups"]}), parse_target("armv7"))))
    sums = [body for name, body in code.items() if name.startswith("conv_int8")]
    assert sums and all(re.search(rf"\s{name}\s+q", body) for body in sums for name in ("vmull.s8", "vpadal.s16"))
    assert [found for body in sums for found in re.findall(r"\bbl\s+__aeabi_[fd]\w+", body)] == []


def _extreme(net):
    q = QuantizedNet(net)
    weight = net.const(np.full((8, 16, 1, 1), -128), np.int8)
    scale, zero = net.const(np.full(8, 0.001, np.float32)), net.const(np.zeros(8), np.int8)
    weight = net.op("DequantizeLinear", weight, scale, zero, axis=0)
    return q.pair(net.op("Conv", q.features(16), weight), 0.1)


@pytest.mark.parametrize(("target", "taken"), [("arm", False), ("cortex-a76", True), ("x86-64", True)])
def test_weights_whose_products_16_bits_do_not_hold_are_summed_elsewhere(target, taken):
    program = written(bundled({"extreme": _extreme}), parse_target(target))
    pointwise = [spec for spec, _ in program.calls if dict(spec.attributes).get("kernel") == (1, 1)]
    assert bool(pointwise) == taken


@pytest.mark.parametrize(("step", "chained"), [(0, True), (1, False)])
def test_four_products_are_added_in_16_bits_only_where_those_hold_them(step, chained):
    def build(net):
        q, weight = QuantizedNet(net), np.full((8, 64, 1, 1), 63)
        weight[3, [0, 8, 16, 24], 0, 0] = 64, 64, 64, 63 + step
        scale, zero = net.const(np.full(8, 0.001, np.float32)), net.const(np.zeros(8), np.int8)
        made = net.op("DequantizeLinear", net.const(weight, np.int8), scale, zero, axis=0)
        return q.pair(net.op("Conv", q.features(64), made))

    model, target = bundled({"one": build}), parse_target("arm")
    seen = [kernel.workload for kernel in TvmBackend().kernels(model, target) if kernel.workload.channels == 64]
    assert [work.kind for work in seen] == ["" if chained else WIDE]
    calls = [dict(spec.attributes) for spec, _ in written(model, target).calls]
    assert [said["dot"] == SMULL_4 for said in calls if said.get("kernel") == (1, 1)] == [chained]


@st.composite
def _convolutions(draw) -> Workload:
    """Convolutions of any sizes, some of which these kernels cover."""
    channels, out, sizes = draw(st.integers(1, 9) | SIZES), draw(SIZES), draw(st.tuples(SIZES, SIZES))
    kernel, stride = draw(st.sampled_from((1, 2, 3, 5))), draw(st.integers(1, 3))
    group, order = draw(st.sampled_from((1, 1, 3))), NHWC if channels >= FEW else (0, 1, 2, 3)
    data = (1, channels * group, *(size * stride for size in sizes))
    out = (1, out * group, *sizes)
    return Workload("conv", data, out, order, (kernel, kernel), (stride, stride), group=group, dtype="int8")


WITHOUT_DOTS = [target for target in known_targets() if dot_of(target) is None]


@settings(max_examples=60, deadline=None)
@given(target=st.sampled_from(WITHOUT_DOTS), workload=_convolutions())
def test_blocks_cover_all_channels_and_stay_in_registers(target, workload):
    if not covers(target, workload):
        return
    out = workload.out[1] // workload.group
    for _, plan in priced_pairs(target, workload):
        *before, last = (block for block in plan.blocks for _ in range(block.count))
        assert sum(block.channels for block in before) + sum(last.lanes[:-1]) < out
        assert sum(block.channels for block in before) + last.channels >= out
        for block in plan.blocks:
            vectors = PAIR_VECTORS[plan.dot]
            each = [2 * vectors.lanes_of(width, plan.together) // plan.together for width in block.lanes]
            held = sum(width // channels for width, channels in zip(block.lanes, each, strict=True))
            assert block.rows * (held + 1) < target.core.vector_registers and block.rows <= workload.out[3]


@settings(max_examples=60, deadline=None)
@given(target=st.sampled_from(WITHOUT_DOTS), workload=_convolutions())
def test_as_many_products_are_counted_as_there_are_at_least(target, workload):
    workload = replace(workload, kernel=(1, 1))  # so that no tap is outside
    if not covers(target, workload):
        return
    plan = priced_pairs(target, workload)[0][1]
    lanes = 8 if PAIR_VECTORS[plan.dot].chained > 1 else 2 * PAIR_VECTORS[plan.dot].lanes[0]
    assert conv_pairs(target, workload, Tail(), plan).widening >= workload.macs / lanes


@pytest.mark.parametrize("length", [8, 12, 13, 16, 27, 40, 64])
@pytest.mark.parametrize("together", [2, 4, 8])
def test_packed_weights_are_the_same_ones_step_by_step(length, together):
    weight = np.random.default_rng(0).integers(-127, 128, (24, length, 1, 1)).astype(np.int8)
    blocks = (Block((8, 4), 0, 1, 2),)
    plain = pack(weight, 1, blocks, length, together).reshape(2, -1, 12, together)
    packed = pack_pairs(weight, 1, blocks, length, together, PAIR_VECTORS[SMULL]).reshape(2, -1)
    groups, at = [group for step in steps_of(length, together, PAIR_VECTORS[SMULL]) for group in step], 0
    assert groups == list(range(plain.shape[1]))
    for step in steps_of(length, together, PAIR_VECTORS[SMULL]):
        size = len(step) * 12 * together
        assert sorted(packed[0, at : at + size]) == sorted(plain[0, step.start : step.stop].reshape(-1))
        at += size
    first = packed[0, : 2 * together].reshape(-1, together) if together == 8 else packed[0, :together]
    assert np.array_equal(np.atleast_2d(first)[0], plain[0, 0, 0])
