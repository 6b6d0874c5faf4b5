"""Counted instructions of scheduled convolutions are about those that the emulator executes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pfir.backends.tvm.counts.convolutions.conv import conv
from pfir.backends.tvm.families import modelled
from pfir.backends.tvm.schedule.tile_kinds import MatrixTile
from pfir.target import FLOAT16, HALF, parse_target, with_arithmetic
from pfir.workload import Tail, Workload
from tests.test_backends.test_tvm_counts.kept import errors, exact, rows, whole
from tests.test_backends.test_tvm_counts.ours import ours

ROWS = [row for row in rows("conv") if isinstance(row.schedule, MatrixTile)]
HALVES = [row for row in ROWS if row.workload.dtype == HALF]
TAIL = Tail(bias=True, operators=("Relu",))


def _work(inner: int, out: int, dtype: str, batch: int = 1) -> Workload:
    data, result = (batch, inner, 28, 28), (batch, out, 14, 14)
    return Workload("conv", data, result, (0, 2, 3, 1), (3, 3), (2, 2), pads=(1, 1), dtype=dtype)


def test_most_kernels_take_what_the_emulator_counts():
    for kernels in (ROWS, HALVES):
        found = errors(kernels, ours)
        assert np.mean(found <= 0.03) >= 0.82 and np.mean(found <= 0.06) >= 0.9


def test_the_grid_as_a_whole_takes_what_it_counts():
    assert abs(whole(HALVES, ours) - 1) < 0.03


def test_multiply_adds_are_exact():
    assert all(exact(ROWS, ours))


@pytest.mark.parametrize("name", ("cortex-a76", "armv7", "x86-64:x86-64-v3"))
def test_each_image_of_a_batch_takes_as_much_and_channels_take_more(name):
    target = parse_target(name)
    target = with_arithmetic(target, FLOAT16) if name == "cortex-a76" else target
    dtype = target.arithmetic.data
    tile = MatrixTile(target.lanes, 2, 4, 4)
    one, two, three = (conv(target, _work(24, 32, dtype, n), TAIL, tile).total for n in (1, 2, 3))
    assert three - two == pytest.approx(two - one)
    assert conv(target, _work(32, 32, dtype), TAIL, tile).total > one


def test_armv7_multiplies_as_much_as_there_is_to_do():
    target, work = parse_target("armv7"), _work(24, 32, "float32")
    tile = modelled(target, work)
    if isinstance(tile, MatrixTile):
        count = conv(target, work, TAIL, tile)
        assert work.macs <= 4 * count.multiply <= 1.5 * work.macs
    wide = replace(tile, vectors=1) if isinstance(tile, MatrixTile) else MatrixTile(4, 1, 4, 4)
    assert conv(target, work, TAIL, wide).load > 0
