"""Taps of a depthwise kernel in groups, its weights packed, and what a tile reads."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from pfir.backends.tvm.kernels.axis import Axis
from pfir.backends.tvm.kernels.integers.depthwise.packing import pack_depthwise
from pfir.backends.tvm.kernels.integers.depthwise.products import InterleavedDots, WidenedProducts, products_by
from pfir.backends.tvm.kernels.integers.depthwise.reads import Window, reads_of
from pfir.backends.tvm.kernels.integers.depthwise.taps import groups_of
from pfir.backends.tvm.kernels.integers.packing import Border
from pfir.backends.tvm.schedule.blocks import Block

KERNELS = [(3, 3), (5, 5), (7, 7), (1, 5), (5, 1), (2, 3), (6, 2)]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("together", [1, 2, 4])
def test_each_tap_is_in_one_group_and_groups_are_few(kernel, together):
    groups = groups_of(kernel, together)
    taps = Counter(tap for group in groups for tap in group.taps)
    inside = {(row, column) for row in range(kernel[0]) for column in range(kernel[1])}
    assert all(taps[tap] == 1 for tap in inside) and set(taps.values()) == {1}
    assert {len(group.taps) for group in groups} == {together}
    # The groups of four that stand upright are as many as the columns; at most one tap in four of the rest is missing.
    assert len(groups) <= -(-kernel[0] // together) * kernel[1]


def test_three_by_three_takes_three_dot_products_and_five_by_five_seven():
    assert len(groups_of((3, 3), 4)) == 3 and len(groups_of((5, 5), 4)) == 7 and len(groups_of((1, 5), 4)) == 2


@pytest.mark.parametrize("way", ["sdot", ""])
@pytest.mark.parametrize("lines", [1, 2])
def test_packed_weights_sum_up_to_those_of_rows_that_meet_the_image(way, lines):
    weight = np.random.default_rng(0).integers(-127, 128, (13, 1, 3, 3)).astype(np.int8)
    blocks, products, rows = (Block((8,), 0, 4, 2),), products_by(way, "int8"), Border(Axis(5, 5, 3, 1, 1, 1))
    packed = pack_depthwise(weight, blocks, lines, products, rows)
    parts = packed.reshape(rows.classes, 2, lines, -1, *((8, 4) if way else (2, 8))).astype(int)
    sums = parts.sum(axis=(3, 5 if way else 4))
    for kind in range(rows.classes):
        met = weight[:, 0, rows.taps(kind)].astype(int).sum(axis=(1, 2))
        for line in range(lines):
            np.testing.assert_array_equal(sums[kind, 0, line], met[:8])
            np.testing.assert_array_equal(sums[kind, 1, line], met[5:])


def test_products_are_dots_where_there_is_an_instruction_and_pairs_only_of_signed_data():
    assert isinstance(products_by("sdot", "int8"), InterleavedDots)
    assert products_by("", "int8") == WidenedProducts(2) and products_by("", "uint8") == WidenedProducts(1)


def test_a_column_is_read_once_for_all_positions_and_lines_that_need_it():
    columns = Axis(9, 9, 3, 1, 1, 1)
    reads = reads_of(Window(3, 1, 2, columns, 4), tuple(map(columns.inside, range(9))))
    groups = {places for position in reads for line in position for _, places in line}
    assert len(groups) == 9  # columns, four rows of each, which serve both lines
    assert [len(line) for line in reads[0]] == [2, 2] and [len(line) for line in reads[4]] == [3, 3]


def test_columns_outside_the_image_are_zeros_within_a_group_that_lies_along():
    columns = Axis(6, 6, 3, 1, 1, 1)
    ((((_, places),),),) = reads_of(Window(1, 1, 1, columns, 4), (columns.inside(0),))
    assert places[0] is None and places[1:3] == ((0, 1), (0, 2))
