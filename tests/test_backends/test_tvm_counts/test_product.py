"""Counted instructions of matrix products are those that the emulator executes."""

from __future__ import annotations

import numpy as np
import pytest

from pfir.backends.tvm.counts.products.dots import dots
from pfir.backends.tvm.counts.products.product import product
from pfir.backends.tvm.families import modelled
from pfir.backends.tvm.schedule.tile_kinds import DotsTile
from pfir.instructions import Instructions
from pfir.target import Target, parse_target
from pfir.workload import Tail, Workload
from tests.test_backends.test_tvm_counts.kept import errors, exact, rows, whole
from tests.test_backends.test_tvm_counts.ours import ours

ROWS = rows("product")
PRODUCTS = [row for row in ROWS if row.workload is not None]
MATMULS = [row for row in ROWS if row.workload is None]
LARGE = 10_000  # instructions; of smaller ones some are the call's


def test_totals_are_those_of_the_emulator():
    large = [row.counted.total > LARGE for row in PRODUCTS]
    found = errors(PRODUCTS, ours)
    assert np.mean(found <= 0.03) >= 0.87 and np.mean(found[large] <= 0.03) >= 0.9
    assert found[large].max() <= 0.07


def test_a_grid_as_a_whole_costs_what_it_counts():
    for on in {row.on for row in PRODUCTS}:
        assert abs(whole([row for row in PRODUCTS if row.on == on], ours) - 1) < 0.02


def test_multiply_adds_are_exact():
    assert np.mean(exact(PRODUCTS, ours)) >= 0.93


def test_products_of_two_tensors_are_counted_too():
    found = errors(MATMULS, ours)
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


def test_on_x86_a_step_counts_as_the_multiply_adds_of_its_cycles():
    # Measured on a core with AVX2: 64 channels took 14.7 us, 56 channels, by tiles of one vector, 15.3 us.
    target = parse_target("x86-64:x86-64-v3")
    whole, narrow = (_count(target, 125, n, n) for n in (64, 56))
    assert 125 * 64 * 64 / 8 <= whole.multiply <= 1.05 * 125 * 64 * 64 / 8
    assert 1.3 < narrow.multiply / (125 * 56 * 56 / 8) < 1.55
    assert whole.load < whole.multiply / 10
    assert narrow.multiply == pytest.approx(whole.multiply * 15.3 / 14.7, rel=0.1)
