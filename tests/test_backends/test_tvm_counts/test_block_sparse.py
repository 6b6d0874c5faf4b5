"""Counted instructions of products that skip zeros are those that the emulator executes."""

from __future__ import annotations

import numpy as np

from pfir.backends.tvm.schedule.tile_kinds import SparseTile
from tests.test_backends.test_tvm_counts.kept import errors, exact, rows, whole
from tests.test_backends.test_tvm_counts.ours import ours

ROWS = [row for row in rows("sparse") if isinstance(row.schedule, SparseTile)]
LARGE = 10_000  # instructions; of smaller ones some are the call's


def test_totals_are_those_of_the_emulator():
    large, found = [row.counted.total > LARGE for row in ROWS], errors(ROWS, ours)
    assert sum(large) >= 24 and found[large].max() <= 0.03
    assert np.mean(found <= 0.03) >= 0.9 and found.max() <= 0.07


def test_multiply_adds_are_exact():
    assert np.all(exact(ROWS, ours))


def test_a_grid_as_a_whole_costs_what_it_counts():
    assert abs(whole(ROWS, ours) - 1) < 0.02
