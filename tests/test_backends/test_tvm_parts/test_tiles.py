"""Register tiles fit the core, and waste little."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pfir.backends.tvm.schedule import tiles
from pfir.backends.tvm.schedule.channel_tiles import channel_tile, depthwise_tile
from pfir.backends.tvm.schedule.products import pack
from pfir.backends.tvm.schedule.remainders import remainder_tile
from pfir.backends.tvm.schedule.tile_kinds import DottedTile
from pfir.backends.tvm.schedule.tiles import (
    FEWEST_LANES,
    matrix_tile,
    overlapped_tile,
    product_tile,
)
from pfir.target import known_targets, parse_target
from pfir.workload import Workload
from tests.test_backends.bundle import answers_emulated, answers_of_cases, chosen_by, error, sized, under_construction

SIZES = st.integers(1, 600)


@settings(max_examples=40, deadline=None)
@given(target=st.sampled_from(known_targets()), rows=SIZES, out=SIZES, inner=SIZES)
def test_accumulators_fit_the_registers(target, rows, out, inner):
    tile = matrix_tile(target, rows, out, inner)
    operands = 1 if target.triple.startswith("x86") else tile.rows
    assert tile.rows * tile.vectors + operands < target.core.vector_registers
    assert tile.unroll <= inner and (inner % tile.unroll == 0 or tile.unroll == 4 and operands > 1)
    assert tile.lanes <= target.lanes


@settings(max_examples=40, deadline=None)
@given(target=st.sampled_from(known_targets()), columns=SIZES, channels=SIZES)
def test_window_tiles_hold_one_vector_of_channels(target, columns, channels):
    tile = channel_tile(target, columns, channels)
    assert tile.block == tile.lanes and 1 <= tile.rows <= min(8, columns)


@settings(max_examples=40, deadline=None)
@given(
    target=st.sampled_from(known_targets()),
    sizes=st.tuples(SIZES, SIZES),
    channels=SIZES,
    kernel=st.sampled_from((3, 5, 7)),
    stride=st.integers(1, 3),
)
def test_a_depthwise_tile_holds_its_sums_and_a_row_of_input_in_registers(target, sizes, channels, kernel, stride):
    image, result = ((1, channels, *(n * step for n in sizes)) for step in (stride, 1))
    tile = depthwise_tile(target, Workload("depthwise", image, result, (0, 2, 3, 1), (kernel,) * 2, (stride,) * 2))
    held = tile.lines * tile.rows + (tile.rows - 1) * stride + kernel
    assert tile.rows == 1 or held < target.core.vector_registers
    assert tile.lines == 1 or stride == 1 or kernel == 3
    assert tile.lanes <= max(channels, FEWEST_LANES)


@settings(max_examples=60, deadline=None)
@given(rows=SIZES, channels_out=st.integers(16, 300), channels_in=SIZES)
def test_vectors_the_last_of_which_overlaps_are_as_few_as_can_be_and_fill_all_blocks(rows, channels_out, channels_in):
    target = parse_target("host")
    sizes = rows, channels_out, channels_in
    tile = overlapped_tile(target, product_tile(target, *sizes), *sizes)
    assert -(-channels_out // tile.lanes) % tile.vectors == 0 and tile.rows <= rows
    assert tile.vectors * tile.rows < target.core.vector_registers


def test_an_arm_product_over_few_channels_gets_a_tile_that_leaves_room_for_its_weights():
    target = parse_target("arm")
    for inner in range(1, 10):
        tile = product_tile(target, 784, 24, inner)
        assert tile.vectors <= 2 and tile.unroll == inner and 784 % tile.rows == 0
    assert product_tile(target, 784, 24, 16).vectors > 2


def test_a_channel_left_alone_on_arm_is_a_dot_product_whose_weights_come_last():
    arm = parse_target("arm")
    tile, last = remainder_tile(arm, 49, 9, 6), np.arange(6) + 100
    assert isinstance(tile, DottedTile) and remainder_tile(arm, 3, 9, 6) is None
    assert all(remainder_tile(arm, 49, out, 6) is None for out in (8, 10, 21))
    assert not any(isinstance(product_tile(arm, 49, out, 6), DottedTile) for out in (8, 10, 21))
    weight = np.concatenate([np.arange(6 * 8).reshape(6, 8), last[:, None]], axis=1).astype(np.float32)
    assert np.array_equal(pack(weight, tile), [*range(6 * 8), *last[:4], 0, 0, *last[4:]])


def test_a_neon_convolution_gets_the_tile_that_was_measured_not_to_spill():
    tile = matrix_tile(parse_target("arm:cortex-a53"), 40, 64, 64)
    assert (tile.lanes, tile.vectors, tile.rows, tile.unroll) == (4, 4, 5, 4)


def test_columns_that_divide_evenly_are_preferred():
    assert 28 % matrix_tile(parse_target("x86-64:x86-64-v4"), 28, 32, 64).rows == 0


@pytest.mark.parametrize("channels", (4, 8, 12, 20, 24, 28, 36, 40, 48, 80, 112))
def test_narrow_widths_waste_at_most_a_third_of_their_vectors(channels):
    tile = matrix_tile(parse_target("x86-64:x86-64-v4"), 196, channels, 64)
    assert -(-channels // tile.block) * tile.block <= channels * 4 / 3


def test_rows_that_share_lines_of_the_cache_are_few():
    target = parse_target("x86-64:x86-64-v4")
    assert all(matrix_tile(target, 196, out, 1024).rows <= 7 for out in (16, 112, 512))


def test_steps_that_do_not_divide_the_channels_leave_a_rest():
    cases = {
        f"{channels} {kernel} {stride}": lambda b, c=channels, k=kernel, s=stride: b.op(
            "Conv", b.input(1, c, 7, 9), b.w(18, c, k, k), b.w(18), strides=[s, s], pads=[k // 2] * 4
        )
        for channels, kernel, stride in ((13, 3, 2), (13, 1, 1), (7, 5, 1), (3, 3, 1), (6, 1, 1))
    }
    with chosen_by(tiles, "_unroll", lambda target, channels_in: min(4, channels_in)):
        answers = answers_of_cases(cases)
    for name, (ours, theirs) in answers.items():
        assert error(ours, theirs) < 1e-5, name


def test_every_arm_tile_computes_what_onnx_runtime_computes():
    bundle = under_construction()
    for channels, out, kernel, stride in (
        (3, 16, 3, 1),
        (3, 20, 3, 2),
        (2, 9, 5, 1),
        (35, 13, 3, 1),
        (30, 26, 1, 1),
        (26, 52, 1, 1),
        (49, 8, 1, 1),
        (64, 24, 1, 1),
        (13, 30, 3, 2),
        (13, 13, 1, 1),
        (16, 17, 1, 1),
        (4, 5, 1, 1),
        (7, 9, 1, 1),
    ):
        weight = bundle.w(out, channels, kernel, kernel)
        y = bundle.op("Conv", bundle.input(1, channels, 11, 13), weight, bundle.w(out), strides=[stride] * 2)
        bundle.output(f"y{channels}_{out}", bundle.op("Relu", y))
    for channels, kernel, stride in ((18, 3, 1), (24, 3, 2), (9, 5, 1), (16, 5, 2), (13, 3, 1), (61, 3, 2)):
        x = bundle.op("Conv", bundle.input(1, 5, 11, 13), bundle.w(channels, 5, 1, 1))
        y = bundle.op(
            "Conv",
            x,
            bundle.w(channels, 1, kernel, kernel),
            bundle.w(channels),
            group=channels,
            pads=[kernel // 2] * 4,
            strides=[stride] * 2,
        )
        bundle.output(f"depthwise{channels}_{kernel}_{stride}", bundle.op("Relu", y))
    for inner, out in ((64, 10), (33, 5), (7, 64)):
        weights = bundle.w(inner, out), bundle.w(out)
        bundle.output(f"dense{inner}", bundle.op("Gemm", bundle.input(1, inner), *weights))
        bundle.output(f"matmul{inner}", bundle.op("MatMul", bundle.input(2, 3, inner), bundle.w(inner, out)))
    x = bundle.op("Conv", bundle.input(2, 5, 7, 7), bundle.w(13, 5, 1, 1))
    y = bundle.op("Conv", x, bundle.w(13, 13, 1, 1), bundle.w(13))
    bundle.output("residual", bundle.op("Relu", bundle.op("Add", y, x)))
    found, theirs = answers_emulated(sized(bundle), "arm", "cortex-a55")
    for ours in found:
        assert all(error(ours[name], theirs[name]) < 1e-5 for name in theirs)
