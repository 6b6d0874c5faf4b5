"""Counted instructions of Winograd's kernels are those that the emulator executes."""

from __future__ import annotations

from dataclasses import replace
from math import isclose

import numpy as np
import pytest

from pfir.backends.tvm.counts.convolutions.winograd import winograd
from pfir.backends.tvm.counts.loops import copies_of
from pfir.backends.tvm.schedule.algorithms import plan, winograd_or_direct
from pfir.backends.tvm.schedule.winograd import Winograd
from pfir.instructions import Instructions
from pfir.target import Target, parse_target
from pfir.workload import Tail, Workload
from tests.test_backends.test_tvm_counts.kept import errors, exact, moved, rows, whole
from tests.test_backends.test_tvm_counts.ours import ours

ROWS = rows("winograd")
NHWC = (0, 2, 3, 1)


def test_totals_are_those_of_the_emulator():
    found = errors(ROWS, ours)
    assert np.mean(found <= 0.03) >= 0.95 and found.max() <= 0.06 and found.mean() <= 0.012


def test_a_grid_as_a_whole_costs_what_it_counts():
    for on in {row.on for row in ROWS}:
        assert abs(whole([row for row in ROWS if row.on == on], ours) - 1) < 0.02


def test_multiply_adds_are_exact_where_tiles_fill_the_image():
    filled = [row for row in ROWS if all(size % row.schedule.outputs == 0 for size in row.workload.out[2:])]
    assert np.mean(exact(filled, ours)) >= 0.95


def test_most_loads_and_stores_are_counted_within_a_twentieth():
    assert np.mean(np.abs(moved(ROWS, ours)) <= 0.05) >= 0.8


def _count(target: Target, channels: int, out: int, size: int, batch: int = 1) -> Instructions:
    shape = batch, out, size, size
    workload = Workload("conv", (batch, channels, size, size), shape, NHWC, (3, 3), pads=(1, 1))
    return winograd(target, workload, Tail(True, ("Relu",)), plan(target, channels, shape, 4))


@pytest.mark.parametrize("target", ["arm", "cortex-a76", "x86-64:x86-64-v3", "x86-64:x86-64-v4"])
def test_counts_grow_with_the_channels_and_the_batch(target: str):
    target = parse_target(target)
    totals = [_count(target, n, n, 16).total for n in range(16, 129, 16)]
    assert totals == sorted(totals) and totals[-1] > 20 * totals[0]
    once, thrice = _count(target, 16, 16, 16), _count(target, 16, 16, 16, 3)
    assert isclose(thrice.multiply, 3 * once.multiply) and 2.9 < thrice.total / once.total <= 3


def test_a_residual_costs_its_loads_and_additions():
    target, row = parse_target("arm"), ROWS[0]
    added = replace(row.tail, operators=("Add", *row.tail.operators), reads=1)
    more = winograd(target, row.workload, added, row.schedule) + ours(row) * -1
    vectors = np.prod(row.workload.out[2:]) * -(-row.workload.out[1] // 4)
    assert more.load == more.vector == vectors and more.load_bytes == 16 * vectors


def test_on_arm_the_choice_is_the_cheapest_of_the_tiles():
    target, out = parse_target("arm"), (1, 13, 16, 16)
    chosen = winograd_or_direct(target, 27, out)
    workload = Workload("conv", (1, 27, 16, 16), out, NHWC, (3, 3), pads=(1, 1))
    tiles = [replace(chosen.tile, vectors=vectors, rows=tall) for vectors, tall in ((1, 11), (2, 8), (3, 4), (4, 4))]
    cycles = {
        tile: target.core.costs.cycles(winograd(target, workload, Tail(True), Winograd(4, chosen.strip, 4, tile)))
        for tile in tiles
    }
    assert cycles[chosen.tile] == min(cycles.values())


@pytest.mark.parametrize(
    ("rounds", "size", "copies"), [(6, 100, 3), (9, 100, 3), (15, 58, 5), (14, 46, 2), (7, 100, 2), (7, 60, 4)]
)
def test_for_cortex_a55_loops_are_written_out_as_disassembly_shows(rounds: int, size: int, copies: int):
    assert copies_of(rounds, size) == copies


def test_cortex_a55_takes_fewer_branches_for_the_same_products():
    wide, alone = (_count(parse_target(target), 64, 64, 8) for target in ("cortex-a55", "cortex-a53"))
    assert wide.multiply == alone.multiply and wide.branch < alone.branch
