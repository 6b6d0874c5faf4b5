"""Integer convolutions by Winograd's transforms give the very sums of direct ones, and are taken where they are
cheaper."""

from __future__ import annotations

import re
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.kernels.armv7 import functions
from benchmarks.kernels.assembly import innermost_loops
from benchmarks.kernels.instructions import assembly
from pfir.backends.tvm.counts.integers.pair_blocks import conv_pairs
from pfir.backends.tvm.counts.integers.winograd import winograd_int8
from pfir.backends.tvm.families import candidates as schedules
from pfir.backends.tvm.kernels.integers.winograd.packing import WHOLE, is_exact, tiled_starts, whole_points
from pfir.backends.tvm.kernels.winograd.packing import blocked
from pfir.backends.tvm.kernels.winograd.transforms import KERNEL
from pfir.backends.tvm.lowering.lower import written
from pfir.backends.tvm.schedule import candidate_schedules as candidates
from pfir.backends.tvm.schedule.blocks import NHWC
from pfir.backends.tvm.schedule.integers.choice import integer_plan, integer_plans
from pfir.backends.tvm.schedule.integers.dot_blocks import dot_of
from pfir.backends.tvm.schedule.integers.pair_blocks import PairBlocks
from pfir.backends.tvm.schedule.integers.pair_choice import priced_pairs
from pfir.backends.tvm.schedule.integers.winograd import IntegerWinograd
from pfir.backends.tvm.schedule.integers.winograd_choice import covers_tiles, priced_tiles
from pfir.backends.tvm.schedule.tile_kinds import MatrixTile
from pfir.target import known_targets, parse_target
from pfir.workload import Tail, Workload
from tests.test_backends.bundle import answers_emulated, bundled, chosen_by
from tests.test_backends.test_tvm_quantized.nets import STEP, QuantizedNet, convolution

AFTER = Tail(bias=True, operators=("QuantizeLinear",))
SIZES = st.integers(1, 100)


def _residual(net):
    q = QuantizedNet(net)
    x = q.features(12, 6, 11)
    return q.pair(net.op("Relu", net.op("Add", q.pair(q.conv(x, 12, 12)), x)))


def _saturated(net):
    """Data at the ends of int8, in a pattern that makes the image's points as large as they come, and weights of the
    largest magnitude, of either sign by channel."""
    q = QuantizedNet(net)
    y, x = np.indices((9, 10))
    signs = np.where(np.isin(y % 5, (0, 2)) ^ np.isin(x % 5, (0, 2)), 1e3, -1e3)
    data = q.pair(q.conv(q.image(1, 3, 9, 10), 3, 16, step=0.03), 0.04, -9)
    data = q.pair(net.op("Add", data, q.pair(net.const(np.tile(signs, (1, 16, 1, 1)).astype(np.float32)), 8.0)), 0.04)
    weight = np.where(np.arange(8)[:, None, None, None] % 2, 127, -127) * np.ones((8, 16, 3, 3))
    scale, zero = net.const(np.full(8, 1e-4, np.float32)), net.const(np.zeros(8), np.int8)
    weight = net.op("DequantizeLinear", net.const(weight, np.int8), scale, zero, axis=0)
    return q.pair(net.op("Conv", data, weight, pads=[1] * 4))


CASES = {
    "whole vectors, whole tiles": convolution(16, 16, 8, 8),
    "the last vectors overlap, tiles reach beyond the image": convolution(13, 27, 7, 9),
    "few channels": convolution(5, 4, 3, 5),
    "without a border": convolution(4, 8, 9, 9, pads=[0] * 4),
    "other borders on each side": convolution(16, 9, 6, 6, pads=[2, 0, 1, 2]),
    "several rounds and a rest": convolution(37, 20, 4, 4),
    "a residual": _residual,
    "numbers at their ends": _saturated,
}


def _plan(outputs: int, target, workload):
    """The cheapest plan by tiles of so many rows and columns; without them a direct one."""
    found = [plan for _, plan in priced_tiles(target, workload) if plan.outputs == outputs]
    return [*found, *(plan for _, plan in priced_pairs(target, workload))][0]


def _answers(outputs: int):
    """What the emulated library computes by such tiles, directly if they are none, and what ONNX Runtime does."""
    with chosen_by(candidates, "integer_plan", partial(_plan, outputs)):
        (ours,), theirs = answers_emulated(bundled(CASES), "rpi4")
    return ours, theirs


@pytest.fixture(scope="module")
def direct():
    return _answers(0)


@pytest.mark.parametrize("outputs", [2, 4])
def test_results_are_those_of_a_direct_convolution_to_the_bit(direct, outputs):
    tiled, theirs = _answers(outputs)
    for name, result in direct[0].items():
        assert theirs[name].std() > STEP and np.array_equal(tiled[name], result)


@settings(max_examples=50, deadline=None)
@given(st.sampled_from([2, 4]), st.integers(0, 1 << 30), st.booleans())
def test_points_of_weights_are_whole_and_fit_in_16_bits(outputs, seed, extreme):
    random = np.random.default_rng(seed)
    weight = random.integers(-127, 128, (5, 3, 3, 3)).astype(np.int8)
    weight = np.where(weight < 0, -127, 127).astype(np.int8) if extreme else weight
    packed = whole_points(blocked(weight, MatrixTile(4, 1, 4, 8)), outputs).astype(float)
    last = np.where(np.arange(outputs + 2) == outputs + 1, WHOLE[outputs].last, 1)
    g = np.array(KERNEL[outputs]) / last[:, None]
    points = np.einsum("ik,ockl,jl->ijco", g, weight.astype(float), g).reshape(-1, 3, 5)
    assert np.abs(points - np.concatenate(packed, axis=-1)[..., :5]).max() < 1e-6


@pytest.mark.parametrize("outputs", [2, 4])
def test_modulo_a_word_the_odd_factor_goes_away(outputs):
    whole, sums = WHOLE[outputs], np.array([-(2**24), -1, 0, 3, 2**24 - 1])
    times = (sums * whole.scale**2).astype(np.int32)
    with np.errstate(over="ignore"):
        assert np.array_equal(times * np.int32(whole.inverse), sums * whole.even)


def test_sums_start_from_what_the_zero_point_adds():
    weight, bias = np.full((2, 3, 3, 3), 2, np.int8), np.array([5, -7], np.int32)
    assert np.array_equal(tiled_starts(weight, bias, 4, 2), (bias - 4 * 54) * 4)
    assert np.array_equal(tiled_starts(weight, None, 0, 4), [0, 0])


def test_sums_that_may_exceed_32_bits_are_no_sums_of_tiles():
    weight = np.full((4, 115, 3, 3), 127, np.int8)
    assert is_exact(weight, None, -128, 4) and not is_exact(weight, np.full(4, 1 << 24, np.int32), -128, 4)
    more = np.full((4, 120, 3, 3), 127, np.int8)
    assert not is_exact(more, None, -128, 4) and is_exact(more, None, 0, 4) and is_exact(more, None, -128, 2)


def _large(net):
    q = QuantizedNet(net)
    weight = net.op(
        "DequantizeLinear",
        net.const(np.full((64, 240, 3, 3), 127), np.int8),
        net.const(np.full(64, 1e-5, np.float32)),
        net.const(np.zeros(64), np.int8),
        axis=0,
    )
    return q.pair(net.op("Conv", q.features(240, 8, 8), weight, pads=[1] * 4), 0.1)


@pytest.mark.parametrize(("case", "outputs"), [(_large, 2), (convolution(240, 64, 8, 8), 4)])
def test_layers_whose_sums_may_be_too_large_are_computed_otherwise(case, outputs):
    program = written(bundled({"one": case}), parse_target("rpi4"))
    assert [spec["outputs"] for spec, _ in program.calls if spec.family == "winograd_int8"] == [outputs]


@pytest.mark.parametrize("core", ["arm", "cortex-a53"])
def test_long_loops_keep_nearly_all_in_registers(core):
    cases = {str(sizes): convolution(*sizes) for sizes in ((16, 16, 32, 32), (64, 24, 8, 8), (13, 27, 16, 16))}
    loops = innermost_loops(assembly(written(bundled(cases), parse_target(core))))
    found = [loop for loop in loops if loop.kernel.startswith("winograd_int8") and loop.instructions > 150]
    assert len(found) > 2 * len(cases) and all(32 * loop.spills <= loop.instructions for loop in found)


def test_code_for_armv7_multiplies_by_a_lane():
    code = functions(assembly(written(bundled({"one": convolution(32, 24, 16, 16)}), parse_target("armv7"))))
    bodies = [body for name, body in code.items() if name.startswith("winograd_int8")]
    assert bodies and all(re.search(r"vmlal\.s16\s+q\d+, d\d+, d\d+\[\d\]", body) for body in bodies)


def _workload(channels: int, out: int, height: int, width: int) -> Workload:
    sizes = height, width
    return Workload("conv", (1, channels, *sizes), (1, out, *sizes), NHWC, (3, 3), pads=(1, 1), dtype="int8")


TARGETS = [target for target in known_targets() if dot_of(target) is None and not target.triple.startswith("x86")]


@settings(max_examples=60, deadline=None)
@given(target=st.sampled_from(TARGETS), sizes=st.tuples(SIZES, SIZES, SIZES, SIZES))
def test_tiles_fill_registers_and_leave_no_part_of_a_vector(target, sizes):
    workload = _workload(*sizes)
    for price, plan in priced_tiles(target, workload):
        assert price > 0 and -(-workload.out[2] // plan.outputs) % plan.strip == 0
        held = plan.tile.rows * plan.tile.vectors + plan.tile.rows + -(-plan.tile.vectors // 2)
        assert held < target.core.vector_registers
        assert not 0 < workload.out[1] % plan.tile.block < plan.tile.lanes
    assert covers_tiles(target, workload) == (min(sizes[:2]) >= 4)


@pytest.mark.parametrize("sizes", [(16, 16, 32, 32), (64, 64, 8, 8), (13, 27, 16, 16)])
def test_tiles_are_taken_where_they_cost_less(sizes):
    target, workload = parse_target("rpi4"), _workload(*sizes)
    cycles, plan = target.core.costs.cycles, integer_plan(target, workload)
    blocks = priced_pairs(target, workload)[0][1]
    assert isinstance(plan, IntegerWinograd)
    assert cycles(winograd_int8(target, workload, AFTER, plan)) < cycles(conv_pairs(target, workload, AFTER, blocks))
    assert {type(found) for found in integer_plans(target, workload)} == {IntegerWinograd, PairBlocks}
    texts = list(map(str, schedules(target, workload)))
    assert texts[0] == str(plan) and len(set(texts)) == len(texts)
    assert all(any(size in text for text in texts) for size in ("winograd 4x4", "winograd 2x2"))


@pytest.mark.parametrize("target", ["cortex-a76", "x86-64:x86-64-v3", "x86-64:x86-64-v4"])
def test_no_tiles_where_bytes_are_multiplied_four_at_a_time_or_neighbours_are_added(target):
    plans = integer_plans(parse_target(target), _workload(32, 32, 16, 16))
    assert not any(isinstance(plan, IntegerWinograd) for plan in plans)
