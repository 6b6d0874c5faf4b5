"""Counted instructions of matrix products are those that the emulator executes."""

from __future__ import annotations

from math import isclose

import numpy as np
import pytest

from pfir.backends.tvm.counts.products.dots import dots
from pfir.backends.tvm.counts.products.matmul import matmul
from pfir.backends.tvm.counts.products.product import product
from pfir.backends.tvm.families import modelled
from pfir.backends.tvm.kernels.products.matmul import fitted
from pfir.backends.tvm.schedule.tile_kinds import DotsTile
from pfir.backends.tvm.schedule.tiles import matrix_tile
from pfir.instructions import Instructions
from pfir.target import Target, parse_target
from pfir.workload import Tail, Workload
from tests.test_backends.test_tvm_counts.products import Row, rows, shares

ROWS = rows("product")
PRODUCTS = [row for row in ROWS if row.workload is not None]
MATMULS = [row for row in ROWS if row.workload is None]
LARGE = 10_000  # instructions; of smaller ones some are the call's


def _ours(row: Row) -> Instructions:
    if row.workload is None:
        left, right, out = map(tuple, row.shapes)
        tile = fitted(matrix_tile(row.target, left[-2], right[-1], left[-1]), left[-2], right[-1])
        return matmul(row.target, Workload("matmul", left, out, (0, 1, 2)), row.tail, tile)
    count = dots if isinstance(row.schedule, DotsTile) else product
    return count(row.target, row.workload, row.tail, row.schedule)


def test_totals_are_those_of_the_emulator():
    large = [row.counted.total > LARGE for row in PRODUCTS]
    found = shares([(_ours(row), row.counted) for row in PRODUCTS])
    assert np.mean(found <= 0.03) >= 0.87 and np.mean(found[large] <= 0.03) >= 0.9
    assert found[large].max() <= 0.07


def test_a_grid_as_a_whole_costs_what_it_counts():
    for name in {row.target.name for row in PRODUCTS}:
        ours, counted = (
            sum(each(row).total for row in PRODUCTS if row.target.name == name)
            for each in (_ours, lambda row: row.counted)
        )
        assert abs(ours / counted - 1) < 0.02


def test_multiply_adds_are_exact():
    exact = [
        isclose(ours.multiply + ours.half, row.counted.multiply + row.counted.half)
        for row in PRODUCTS
        for ours in [_ours(row)]
    ]
    assert np.mean(exact) >= 0.93


def test_products_of_two_tensors_are_counted_too():
    found = shares([(_ours(row), row.counted) for row in MATMULS])
    assert len(MATMULS) >= 6 and np.mean(found <= 0.065) >= 0.8


def _count(target: Target, rows: int, inner: int, columns: int) -> Instructions:
    workload = Workload("product", (rows, inner), (rows, columns), (0, 1))
    tile = modelled(target, workload)
    count = dots if isinstance(tile, DotsTile) else product
    return count(target, workload, Tail(True, ("Relu",)), tile)


@pytest.mark.parametrize("target", ["arm", "cortex-a76", "x86-64:x86-64-v3", "x86-64:x86-64-v4"])
def test_counts_grow_with_the_channels_and_the_rows(target: str):
    target = parse_target(target)
    for sizes in ([(196, n, 32) for n in range(16, 257, 16)], [(196, 32, n) for n in range(16, 257, 16)]):
        totals = [_count(target, *size).total for size in sizes]
        assert totals == sorted(totals) and totals[-1] > 10 * totals[0]
    assert _count(target, 98, 64, 64).total < _count(target, 196, 64, 64).total


def test_x86_takes_each_value_from_memory():
    count = _count(parse_target("x86-64:x86-64-v4"), 196, 64, 64)
    assert count.load >= count.multiply
