"""Counted instructions of integer depthwise convolutions are near those that the emulator executes."""

from __future__ import annotations

import numpy as np
import pytest

from pfir.backends.tvm.counts.integers.depthwise import depthwise_int8
from pfir.backends.tvm.schedule.blocks import Block
from pfir.backends.tvm.schedule.integers.depthwise_blocks import DepthwiseBlocks
from pfir.backends.tvm.schedule.integers.depthwise_choice import covers_depthwise, depthwise_plan, depthwise_plans
from pfir.backends.tvm.schedule.integers.dot_blocks import dot_of
from pfir.target import parse_target
from pfir.workload import Tail, Workload

AFTER = Tail(bias=True, operators=("QuantizeLinear",))
# Target, channels, rows and columns, kernel, stride; positions and lines of a tile; instructions of a call, counted by
# `EmulatedDevice.instructions_by_class` less a call that computes nearly nothing.
COUNTED = (
    ("cortex-a72", 8, 28, 3, 1, 14, 1, 28003),
    ("cortex-a72", 8, 28, 3, 2, 14, 1, 7244),
    ("cortex-a72", 12, 28, 3, 1, 14, 1, 50638),
    ("cortex-a72", 13, 14, 5, 1, 14, 1, 39695),
    ("cortex-a72", 13, 28, 3, 1, 14, 1, 58986),
    ("cortex-a72", 16, 14, 3, 1, 14, 1, 15083),
    ("cortex-a72", 16, 14, 7, 1, 7, 1, 72102),
    ("cortex-a72", 16, 28, 5, 1, 14, 1, 163172),
    ("cortex-a72", 16, 56, 3, 2, 14, 1, 61563),
    ("cortex-a72", 20, 14, 3, 1, 14, 1, 20754),
    ("cortex-a72", 24, 14, 5, 2, 7, 1, 15249),
    ("cortex-a72", 24, 28, 3, 1, 14, 1, 87289),
    ("cortex-a72", 40, 14, 3, 1, 14, 1, 37518),
    ("cortex-a72", 40, 14, 3, 2, 7, 1, 10670),
    ("cortex-a72", 40, 14, 5, 1, 14, 1, 100439),
    ("cortex-a72", 96, 7, 5, 1, 7, 1, 57134),
    ("cortex-a72", 96, 14, 3, 1, 14, 1, 89897),
    ("cortex-a72", 96, 14, 3, 2, 7, 1, 25318),
    ("cortex-a72", 144, 7, 3, 1, 7, 1, 36014),
    ("cortex-a72", 144, 14, 5, 2, 7, 1, 91803),
    ("cortex-a76", 8, 28, 3, 1, 14, 2, 18814),
    ("cortex-a76", 12, 28, 3, 1, 14, 2, 32676),
    ("cortex-a76", 13, 14, 5, 1, 7, 2, 21338),
    ("cortex-a76", 13, 28, 3, 1, 14, 2, 39813),
    ("cortex-a76", 16, 14, 3, 1, 14, 2, 10141),
    ("cortex-a76", 16, 14, 7, 1, 4, 2, 30909),
    ("cortex-a76", 16, 28, 5, 1, 6, 2, 84543),
    ("cortex-a76", 20, 14, 3, 1, 14, 2, 13592),
    ("cortex-a76", 24, 14, 5, 2, 7, 1, 9382),
    ("cortex-a76", 24, 28, 3, 1, 14, 2, 59231),
    ("cortex-a76", 40, 14, 3, 1, 14, 2, 25441),
    ("cortex-a76", 40, 14, 3, 2, 7, 1, 9760),
    ("cortex-a76", 40, 14, 5, 1, 7, 2, 51923),
    ("cortex-a76", 96, 7, 5, 1, 7, 2, 35115),
    ("cortex-a76", 96, 14, 3, 1, 14, 2, 60940),
    ("cortex-a76", 96, 14, 3, 2, 7, 1, 22918),
    ("cortex-a76", 144, 7, 3, 1, 7, 2, 27925),
    ("cortex-a76", 144, 14, 5, 2, 7, 1, 56078),
)


def _workload(channels: int, size: int, kernel: int, stride: int) -> Workload:
    out, pad = (size - 1) // stride + 1, kernel // 2
    return Workload(
        "depthwise",
        (1, channels, size, size),
        (1, channels, out, out),
        (0, 2, 3, 1),
        (kernel, kernel),
        (stride, stride),
        pads=(pad, pad),
        group=channels,
        dtype="int8",
    )


def _blocks(channels: int, rows: int) -> tuple[Block, ...]:
    whole, left = divmod(channels, 8)
    if 0 < left <= 4:
        return Block((8,), 0, rows, whole), Block((4,), 0, rows)
    return (Block((8,), 0, rows, whole + (left > 0)),)


def test_counts_are_within_three_percent_of_the_emulators_on_most_kernels():
    errors = []
    for name, channels, size, kernel, stride, rows, lines, counted in COUNTED:
        target = parse_target(name)
        plan = DepthwiseBlocks(_blocks(channels, rows), lines, dot_of(target) or "")
        found = depthwise_int8(target, _workload(channels, size, kernel, stride), AFTER, plan)
        errors.append(abs(found.total / counted - 1))
    assert np.mean(np.array(errors) < 0.03) > 0.8 and np.mean(errors) < 0.02 and max(errors) < 0.08


@pytest.mark.parametrize("name", ["cortex-a76", "cortex-a72", "armv7", "host"])
@pytest.mark.parametrize("channels", [4, 8, 13, 20, 24, 40, 97])
def test_blocks_cover_the_channels_and_overlap_only_at_the_end(name, channels):
    plan = depthwise_plan(parse_target(name), _workload(channels, 14, 3, 1))
    covered = sum(block.channels * block.count for block in plan.blocks)
    assert channels <= covered < channels + plan.blocks[-1].channels
    assert max(block.channels for block in plan.blocks) <= channels
    assert all(len(block.lanes) == 1 and not block.singles for block in plan.blocks)


def test_two_lines_share_rows_where_dot_products_have_a_place_for_them():
    three = depthwise_plan(parse_target("cortex-a76"), _workload(96, 14, 3, 1))
    strided = depthwise_plan(parse_target("cortex-a76"), _workload(96, 14, 3, 2))
    without = depthwise_plan(parse_target("cortex-a72"), _workload(96, 14, 3, 1))
    assert (three.lines, strided.lines, without.lines) == (2, 1, 1)


def test_plans_differ_and_say_all_that_decides_the_kernel():
    plans = depthwise_plans(parse_target("cortex-a76"), _workload(24, 28, 5, 1))
    assert len({str(plan) for plan in plans}) == len(plans) > 1


@pytest.mark.parametrize(
    ("target", "channels", "kernel", "covered"),
    [
        ("arm", 8, 3, True),
        ("cortex-a76", 3, 3, False),
        ("cortex-a76", 8, 9, False),
        ("x86-64:x86-64-v3", 8, 3, False),
    ],
)
def test_few_channels_many_taps_and_x86_without_dot_products_have_no_such_kernel(target, channels, kernel, covered):
    assert covers_depthwise(parse_target(target), _workload(channels, 14, kernel, 1)) == covered


def test_weights_are_packed_for_single_lines_where_that_takes_hardly_more():
    target = parse_target("cortex-a76")
    for channels, size, lines in ((960, 7, 1), (96, 56, 2)):
        shape = (1, channels, size, size)
        work = Workload("depthwise", shape, shape, (0, 2, 3, 1), (3, 3), pads=(1, 1), group=channels, dtype="int8")
        assert depthwise_plan(target, work).lines == lines
